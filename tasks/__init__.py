"""Small real tasks, each trained end to end with any implementation of the recurrent layer it needs."""

TASKS = ("hello", "mlp", "mnist", "birnn", "charlm", "forecast", "stateful", "manytomany", "seq2seq", "caption")
