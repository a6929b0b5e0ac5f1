"""Timing the layers side by side, and measuring the tolerance."""

import sys
from importlib.util import find_spec

NEEDS = ("cpuinfo", "filelock", "matplotlib", "pytest_benchmark", "ruptures", "tqdm")

if missing := [name for name in NEEDS if find_spec(name) is None]:
    line = f"the benchmarks need {', '.join(missing)}: pip install 'rnn-parity[bench]'"
    if sys.argv[0] == "-m":  # so Python names itself while it looks for the module to run
        sys.exit(line)
    raise ModuleNotFoundError(line)
