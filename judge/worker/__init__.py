"""The process of a candidate, and the end that watches it."""
