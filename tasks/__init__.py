"""Small real tasks, each trained end to end with any implementation of the recurrent layer it needs."""

import sys
from importlib.util import find_spec

TASKS = ("hello", "mlp", "mnist", "birnn", "charlm", "forecast", "stateful", "manytomany", "seq2seq", "caption")

NEEDS = ("cyclopts", "matplotlib", "platformdirs", "pooch", "sklearn", "torchvision", "tqdm")

if missing := [name for name in NEEDS if find_spec(name) is None]:
    line = f"the tasks need {', '.join(missing)}: pip install 'rnn-parity[tasks]'"
    if sys.argv[0] == "-m":  # so Python names itself while it looks for the module to run
        sys.exit(line)
    raise ModuleNotFoundError(line)
