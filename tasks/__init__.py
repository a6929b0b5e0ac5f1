"""Small real tasks, each trained end to end with any implementation of the recurrent layer it needs."""

TASKS = ("hello", "mnist", "seq2seq", "caption")
