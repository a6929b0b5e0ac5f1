"""List the tasks: `python -m rnn_parity.tasks`."""

from importlib import import_module

from . import TASKS

width = max(map(len, TASKS))
for name in TASKS:
    summary, *_ = (import_module(f".{name}", __package__).__doc__ or "").splitlines()
    print(f"python -m {__package__}.{name:{width}} {summary}")
