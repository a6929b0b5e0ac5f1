"""A verdict as a program to paste: `reproducer` chooses among `programs`, whose lines are in `snippets`."""
