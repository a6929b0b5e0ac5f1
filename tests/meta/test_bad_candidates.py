"""A bad candidate gets its verdict in one line, and the one beside it gets its own."""

import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

CANDIDATES = """
import ctypes, os, random, sys, time
import numpy, torch

class Right(torch.nn.GRU):
    pass

def spoiled(spoil):
    class Layer(torch.nn.GRU):
        def forward(self, input, hx=None):
            found = super().forward(input, hx)
            other = spoil()
            return found if other is None else other
    return Layer

def hang():
    with open("hung", "a") as begun:
        begun.write(".")
    while True:
        pass

def exhaust():
    kept = []
    while True:
        kept.append(bytearray(b"x" * 2**25))

def chat():
    print("x" * 50_000)
    os.write(2, b"y" * 50_000)

def interrupt():
    raise KeyboardInterrupt("stop")

hangs, exhausts, chats, interrupts = map(spoiled, (hang, exhaust, chat, interrupt))
exits = spoiled(lambda: os._exit(3))
crashes = spoiled(lambda: ctypes.string_at(0))
returns_text = spoiled(lambda: "a result")
default_dtype = spoiled(lambda: torch.set_default_dtype(torch.float16))
default_device = spoiled(lambda: torch.set_default_device("meta"))
grad_mode = spoiled(lambda: torch.set_grad_enabled(not torch.is_grad_enabled()) and None)
threads = spoiled(lambda: torch.set_num_threads(7))
precision = spoiled(lambda: torch.set_float32_matmul_precision("medium"))
deterministic = spoiled(lambda: torch._C._set_deterministic_algorithms(True))  # the public one imports for seconds
anomalies = spoiled(lambda: torch.autograd.set_detect_anomaly(True) and None)
seeds_torch = spoiled(lambda: torch.manual_seed(0) and None)
seeds_python = spoiled(lambda: random.seed(0))
seeds_numpy = spoiled(lambda: numpy.random.seed(0))
draws = spoiled(lambda: (torch.rand(1), random.random(), numpy.random.rand()) and None)

class names_exit(torch.nn.GRU):
    loaded = False

    def load_state_dict(self, *arguments, **options):
        self.loaded = True
        return super().load_state_dict(*arguments, **options)

    def named_parameters(self, *arguments, **options):
        if self.loaded:
            os._exit(4)
        return super().named_parameters(*arguments, **options)
"""

# Right layers, each beside something of the judge's or of PyTorch's that is not.
BESIDE = {
    "builtin_exits": """
import os, torch

class Layer(torch.nn.GRU):
    pass

forward = torch.nn.GRU.forward
torch.nn.GRU.forward = lambda self, *given: os._exit(3) if type(self) is torch.nn.GRU else forward(self, *given)
""",
    "oracle_lingers": """
import time, torch
from rnn_parity.judge.core import verdict

class Layer(torch.nn.GRU):
    pass

bounds, kept = verdict.bounds, []

def lingering(*arguments, **options):
    if not kept:
        kept.append(bytearray(b"x" * 2**29))
        time.sleep(7)
    return bounds(*arguments, **options)

verdict.bounds = lingering
""",
    "oracle_hangs": """
import time, torch
from rnn_parity.judge.core import verdict

class Layer(torch.nn.GRU):
    pass

verdict.bounds = lambda *arguments, **options: time.sleep(1000)
""",
}

AT_IMPORT = {
    "hangs_there": "while True: pass",
    "exits_there": "import os; os._exit(5)",
    "raises_there": "raise OSError('libkernel.so not found\\nsecond line')",
}

NOT_THE_GRU = r"^candidates:{name} is not the GRU of the equations: "

# What the verdict says, first the worst: those that would take the suite down with them.
WORST = {
    "hangs": r"forward did not return within 6 s\n  case: gru\(input_size=",
    "exits": r"forward ended its process with exit status 3\n  case: gru\(input_size=",
    "crashes": r"forward ended its process, killed by SIGSEGV\n  case: gru\(input_size=",
    "names_exit": r"named_parameters\(\) ended its process with exit status 4\n  case: gru\(input_size=",
    "exhausts": r"forward used more than 0\.3 GiB of memory\n  case: gru\(input_size=",
}
BAD = WORST | {
    "interrupts": r"forward raised KeyboardInterrupt: stop\n  case: ",
    "returns_text": r"expected \(output, h_n\), got str\n  case: ",
    "default_dtype": r"forward changed PyTorch's default dtype from torch\.float32 to torch\.float16\n  case: ",
    "default_device": r"forward changed PyTorch's default device from cpu to meta\n  case: ",
    "grad_mode": r"forward changed PyTorch's gradient mode from (True to False|False to True)\n  case: ",
    "threads": r"forward changed PyTorch's number of threads from \d+ to 7\n  case: ",
    "precision": r"forward changed PyTorch's float32 matmul precision from highest to medium\n  case: ",
    "deterministic": r"forward changed PyTorch's deterministic mode from 0 to 2\n  case: ",
    "anomalies": r"forward changed PyTorch's anomaly mode from False to True\n  case: ",
    "seeds_torch": r"forward changed PyTorch's random seed from \d+ to 0\n  case: ",
    "seeds_python": r"it seeded Python's global random generator\n  case: ",
    "seeds_numpy": r"it seeded NumPy's global random generator\n  case: ",
}
AT_IMPORT_SAYS = {
    "hangs_there": "expected 'hangs_there:Layer' to import and build, but importing it did not return within 6 s",
    "exits_there": "expected 'exits_there:Layer' to import and build, but importing it ended its process with exit"
    " status 5",
    "raises_there": "expected MODULE:ATTRIBUTE that imports, got 'raises_there:Layer': OSError: libkernel.so not"
    " found second line",
}
RIGHT = ("Right", "chats", "draws")
OPTIONS = (
    "--pyargs",
    "rnn_parity.tests.conformance",
    "--parity-device=cpu",
    "--parity-dtype=float64",
    "--parity-examples=3",
    "--parity-timeout=6",
    "--parity-memory=0.3",
    "--parity-json=verdicts.json",
    "-kforward",
    "-pno:cacheprovider",
)
IN_PARALLEL = ("-n", "2") if importlib.util.find_spec("xdist") else ()

# Candidates that hang, and the options of their runs.
HANGING = {
    "signal": ("candidates:hangs", "--timeout=16", "--timeout-method=signal", "--parity-timeout=100"),
    "thread": ("oracle_hangs:Layer", "--timeout=8", "--timeout-method=thread", "--parity-timeout=100"),
    "often": ("candidates:hangs", "-kstate or stacking", "--parity-timeout=3"),
}
needs_timeout = pytest.mark.skipif(
    importlib.util.find_spec("pytest_timeout") is None, reason="pytest-timeout is not installed"
)


class Outcome(NamedTuple):
    exit_code: int
    printed: str
    verdicts: dict[str, Any]


def judged(folder: Path, named: list[str], *options: str) -> Outcome:
    (folder / "candidates.py").write_text(CANDIDATES)
    for module, text in (AT_IMPORT | BESIDE).items():
        (folder / f"{module}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", *OPTIONS, *options]
    command += [f"--parity-implementation=gru={name}" for name in named]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    printed, written = done.stdout + done.stderr, folder / "verdicts.json"
    assert written.exists(), printed
    verdicts = {verdict["implementation"]: verdict for verdict in json.loads(written.read_text())["verdicts"]}
    return Outcome(done.returncode, printed, verdicts)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[tuple[Outcome, Path]]]]:
    """Runs of pytest that wait for most of their time, and so all at once."""

    def begin(named: list[str], *options: str) -> Future[tuple[Outcome, Path]]:
        folder = tmp_path_factory.mktemp("judged")
        return pool.submit(lambda: (judged(folder, named, *options), folder))

    modules = [f"{module}:Layer" for module in (*AT_IMPORT, "builtin_exits", "oracle_lingers")]
    everyone = [*modules, *(f"candidates:{name}" for name in (*BAD, *RIGHT))]
    with ThreadPoolExecutor() as pool:
        of_hanging = {key: begin([name, "candidates:Right"], *options) for key, (name, *options) in HANGING.items()}
        yield of_hanging | {"everyone": begin(everyone, *IN_PARALLEL)}


@pytest.fixture(scope="module")
def everyone(runs: Any) -> Outcome:
    outcome, _ = runs["everyone"].result()
    return outcome


@pytest.mark.parametrize("name", BAD)
def test_a_bad_candidate_gets_its_verdict(everyone: Outcome, name: str) -> None:
    (failure,) = everyone.verdicts[f"candidates:{name}"]["failures"]
    assert re.search(NOT_THE_GRU.format(name=name) + BAD[name], failure["message"]), failure["message"]
    assert failure["reproducer"]
    first, *_ = failure["message"].splitlines()
    assert first in everyone.printed


@pytest.mark.parametrize("name", AT_IMPORT)
def test_one_that_does_not_import_gets_its_verdict(everyone: Outcome, name: str) -> None:
    (failure,) = everyone.verdicts[f"{name}:Layer"]["failures"]
    assert failure["message"] == AT_IMPORT_SAYS[name]
    assert f"{name}:Layer: {AT_IMPORT_SAYS[name]}\n" in everyone.printed


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_ones_beside_them_pass(everyone: Outcome, name: str) -> None:
    assert everyone.exit_code == 1
    assert everyone.verdicts[f"candidates:{name}"]["verdict"] == "passed"


def test_what_the_built_in_does_to_the_process_is_not_held_against_the_layer(everyone: Outcome) -> None:
    verdict = everyone.verdicts["builtin_exits:Layer"]
    (error,) = verdict["errors"]
    says = "torch.nn ended its process with exit status 3 in forward: nothing is said of builtin_exits:Layer"
    assert re.match(re.escape(says) + r"\n  case: gru\(input_size=", error["message"]), error["message"]
    assert "replay('builtin_exits:Layer', 'forward', 'equations', case)" in error["reproducer"]
    assert verdict["verdict"] == "error"
    assert not verdict["failures"]
    assert not verdict["faults"]
    assert f"ERROR: {says}\n" in everyone.printed


def test_the_time_and_memory_of_the_judge_are_not_the_layers(everyone: Outcome) -> None:
    assert everyone.verdicts["oracle_lingers:Layer"]["verdict"] == "passed"  # after 7 s and 0.5 GiB


def test_what_is_printed_is_counted_and_not_shown(everyone: Outcome) -> None:
    assert re.search(r"^candidates:chats: printed \d+\.\d MB, not shown$", everyone.printed, re.MULTILINE)
    assert everyone.verdicts["candidates:chats"]["printed"] > 5e5
    assert "yyy" not in everyone.printed
    assert len(everyone.printed) < 200_000


def test_one_after_the_other(tmp_path: Path) -> None:
    named = ["raises_there:Layer", "candidates:Right", "candidates:exits", "candidates:crashes"]
    outcome = judged(tmp_path, named)
    assert {name: verdict["verdict"] for name, verdict in outcome.verdicts.items()} == {
        "raises_there:Layer": "failed",
        "candidates:Right": "passed",
        "candidates:exits": "failed",
        "candidates:crashes": "failed",
    }
    for name in ("exits", "crashes"):
        (failure,) = outcome.verdicts[f"candidates:{name}"]["failures"]
        assert re.search(NOT_THE_GRU.format(name=name) + WORST[name], failure["message"]), failure["message"]


@needs_timeout
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_speaks_before_pytest_timeout(runs: Any, method: str) -> None:
    (outcome, _), name = runs[method].result(), HANGING[method][0]
    late = "did not return in the time that pytest-timeout gives the test"
    if method == "signal":
        (failure,) = outcome.verdicts[name]["failures"]
        assert f"forward {late}\n  case: " in failure["message"]
    else:
        (error,) = outcome.verdicts[name]["errors"]
        assert f"the judge {late} in comparing: nothing is said of {name}\n  case: " in error["message"]
    assert outcome.verdicts["candidates:Right"]["verdict"] == "passed"


def test_one_that_hangs_is_not_run_for_ever(runs: Any) -> None:
    outcome, folder = runs["often"].result()
    said = [failure["message"] for failure in outcome.verdicts["candidates:hangs"]["failures"]]
    assert len(said) > 4
    assert sum("not run" in message for message in said) == len(said) - 2
    assert (folder / "hung").read_text() == ".."
    assert outcome.verdicts["candidates:Right"]["verdict"] == "passed"


def test_nothing_is_left_running(tmp_path: Path) -> None:
    writing = CANDIDATES.replace("hung", "pid").replace('"."', "str(os.getpid())")
    (tmp_path / "lonely.py").write_text(writing)
    command = [
        sys.executable,
        "-m",
        "pytest",
        *OPTIONS,
        "--parity-timeout=80",
        "--parity-implementation=gru=lonely:hangs",
    ]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    try:
        wait_until(lambda: pid.exists() and pid.read_text() != "")
    finally:
        run.kill()
        run.wait()
    wait_until(lambda: not running(int(pid.read_text())))


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "expected something within 60 s"
        time.sleep(0.1)
