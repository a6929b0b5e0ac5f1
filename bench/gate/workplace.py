"""A folder for a gate and the processes in it, all gone when the gate is, however it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import psutil

# Runs beside the gate. Where the gate ends, be it killed, its end of the pipe is closed.
SWEEP = "from rnn_parity.bench.gate.workplace import sweep; sweep()"

Item = TypeVar("Item")
Result = TypeVar("Result")


class GateError(Exception):
    """What was expected and what came, in one line."""


class Workplace:
    """Where a gate works.

    Args:
        folder: empty, and removed in the end.
        sweeper: the process that removes it, told of each process that is started.
    """

    def __init__(self, folder: Path, sweeper: subprocess.Popen[str]) -> None:
        self.folder, self._sweeper = folder, sweeper
        self._running: set[int] = set()

    def _tell(self, line: object) -> None:
        assert self._sweeper.stdin is not None
        print(line, file=self._sweeper.stdin, flush=True)

    def run(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and return what it printed, both streams together."""
        piped: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(
            command, **piped, text=True, errors="replace", env=env, cwd=cwd or self.folder, start_new_session=True
        )
        self._running.add(process.pid)
        self._tell(process.pid)
        try:
            output, _ = process.communicate()
        except BaseException:
            end(process.pid)
            raise
        self._running.discard(process.pid)
        self._tell(-process.pid)
        return subprocess.CompletedProcess(command, process.returncode, output)

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call a function that runs commands for several items, as many at once as there are cores.

        The first that raises, or an interrupt, ends the others.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                return list(pool.map(function, items))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for pid in tuple(self._running):
                    end(pid)
                raise


@contextlib.contextmanager
def workplace(repository: Path) -> Iterator[Workplace]:
    """Make a folder, and have it swept: after an exception, an interrupt, SIGTERM or SIGKILL alike.

    Args:
        repository: forgets the worktrees in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="rnn-parity-gate-"))
    command = [sys.executable, "-c", SWEEP, str(folder), str(repository)]
    sweeper = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert sweeper.stdin is not None
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield Workplace(folder, sweeper)
    finally:
        signal.signal(signal.SIGTERM, before)
        sweeper.stdin.close()
        sweeper.wait()


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def sweep() -> None:
    """Read process ids, and those of ended ones with a minus; where there are no more lines, end and remove all."""
    folder, repository = sys.argv[1:]
    running: set[int] = set()
    for pid in map(int, sys.stdin):
        running = running | {pid} if pid > 0 else running - {-pid}
    for pid in running:
        end(pid)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "-C", repository, "worktree", "prune"], check=False, capture_output=True)


def end(pid: int) -> None:
    """End a process and those that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def environment(paths: Sequence[Path], threads: int) -> dict[str, str]:
    """Return the environment of a process that imports from some folders first.

    Args:
        paths: in the order in which they are searched, before what is installed.
        threads: of each library that has some.
    """
    found = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    # Without what pytest is told by the environment, such as that it runs under xdist, where benchmarks are off.
    around = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**around, "PYTHONPATH": found, "PYTHONDONTWRITEBYTECODE": "1", **counts}
