"""What is left of a run for people: verdicts as JSON, the page of them, programs that run, a summary in Markdown."""
