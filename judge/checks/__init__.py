"""The questions, one file each: what is asked of a case, and which programs show the answer."""
