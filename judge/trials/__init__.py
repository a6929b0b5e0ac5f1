"""The table of trials, their schedule, the search for a failing case and its shrinking."""
