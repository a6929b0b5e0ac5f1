"""Processes for candidates: one that hangs, dies or takes the memory gets its verdict, and pytest goes on.

Each implementation has a process of its own, forked from a server that has imported PyTorch and nothing else that
matters, so that no candidate is imported into pytest or meets another one. Where the system has no such server
(Windows), candidates run in the pytest process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_all_start_methods
from multiprocessing.connection import wait

import psutil
import torch

from ..core.candidate import Implementation
from ..core.case import Case
from ..core.guard import CANDIDATE, JUDGE
from ..core.misbehaviour import Ended
from ..core.results import ERROR, FAILED
from ..core.verdict import Verdict
from ..trials.reproducer import replayed, reproducer
from ..trials.table import trial_named
from ..trials.trial import Outcome, Trial
from . import child
from .messages import Declared, Fault, Probe, Run, Target

# What a new process finds imported: all that the trials need, and what PyTorch imports at the first backward pass.
PRELOADED = [child.__name__, "torch.fx.experimental.symbolic_shapes"]

AVAILABLE = "forkserver" in get_all_start_methods()

POLL = 0.05  # seconds between two looks at a process that says nothing
SHOWN = 2000  # bytes of its output that are kept
PROCESSES = 4  # at most; the one that was idle longest makes room
STEPS = 256  # that a time limit is for: a longer case may take as much longer
STRIKES = 2  # runs of a candidate in one dtype that may cost their whole time limit or memory


class Process:
    """A process with one candidate in it.

    Args:
        seconds: in which the candidate's part of a case must be over.
        gib: by which the candidate may let it grow while it answers.
    """

    def __init__(self, seconds: float, gib: float) -> None:
        self.seconds, self.gib = seconds, gib
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.connection, requests = context.Pipe()
        self.output, written = context.Pipe(duplex=False)
        os.set_blocking(self.output.fileno(), False)
        self.outputs = [self.output]
        threads = torch.get_num_threads()
        self.process = context.Process(target=child.serve, args=(requests, written, seconds, gib, threads))
        with _without_main():
            self.process.start()
        requests.close()
        written.close()
        self._forget()
        self.connection.recv()  # the first of all waits until the server has imported PyTorch

    def _forget(self) -> None:
        self.case: Case | None = None
        self.who, self.stage = JUDGE, "beginning"
        self.begun, self.size, self.most = time.monotonic(), 0, self.gib * 2**30
        self.cases, self.printed, self.tail = 0, 0, b""

    def ask(self, request: Probe | Run, deadline: float) -> Declared | Outcome:
        """Return the answer to a request.

        Args:
            request: what to do.
            deadline: on the clock of time.monotonic.

        Raises:
            Fault: there is none.
        """
        self._forget()
        try:
            # A candidate is looked for in the folder pytest was started in, too.
            self.connection.send(([*sys.path, os.getcwd()], request))
            return self._answer(deadline)
        except (EOFError, ConnectionError):
            raise Fault(self._ending()) from None
        finally:
            self._drain()

    def _answer(self, deadline: float) -> Declared | Outcome:
        looked = time.monotonic()
        while True:
            ready = wait([self.connection, self.process.sentinel, *self.outputs], POLL)
            if self.output in ready:
                self._drain()
            now = time.monotonic()
            if self.connection in ready:
                message = self.connection.recv()
                if isinstance(message, Fault):
                    raise message
                if isinstance(message, Declared | Outcome):
                    return message
                begun, size = message
                self._note(begun, size, now)
            elif self.process.sentinel in ready:
                raise EOFError
            if now > deadline:
                raise Fault("did not return in the time that pytest-timeout gives the test", costly=True)
            if self.who != CANDIDATE:
                continue  # what torch.nn and the judge take is not the candidate's
            allowed = limit_for(self.case, self.seconds)
            if now - self.begun > allowed:
                raise Fault(f"did not return within {allowed:g} s", costly=True)
            if now - looked >= POLL:
                looked = now
                if self._size() > self.most:
                    raise Fault(f"used more than {self.gib:g} GiB of memory", costly=True)

    def _note(self, begun: Case | tuple[str, str], size: int, now: float) -> None:
        """Take down who computes from now on, and leave what others let the process grow by out of account."""
        if self.who != CANDIDATE:
            self.most += size - self.size
        self.size, self.begun = size, now
        if isinstance(begun, Case):
            self.case, self.cases, begun = begun, self.cases + 1, (JUDGE, "preparing the case")
        self.who, self.stage = begun

    def _size(self) -> int:
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0  # it has ended

    def _drain(self) -> None:
        """Read what is there of the output, never to the end of one that has none."""
        with contextlib.suppress(BlockingIOError):
            read = os.read(self.output.fileno(), 2**20)
            if not read:
                self.outputs = []  # closed at the other end: always ready, with nothing to say
            self.printed += len(read)
            self.tail = (self.tail + read)[-SHOWN:]

    def _ending(self) -> str:
        self.process.join(1)
        code = self.process.exitcode
        if code is None:
            return "broke off the connection to its process"
        if code < 0:
            return f"ended its process, killed by {signal.Signals(-code).name}"
        return f"ended its process with exit status {code}"

    def kill(self) -> None:
        """End the process and all that it started."""
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.output.close()


def limit_for(case: Case | None, seconds: float) -> float:
    """Return the time limit for a case: a layer that takes its time for each step is slow, and not wrong."""
    return seconds * max(1.0, case.seq_len / STEPS if case else 1.0)


class Workers:
    """The processes of one pytest run.

    Args:
        seconds: in which a candidate must be heard of.
        gib: of memory that it may take.
    """

    def __init__(self, seconds: float, gib: float) -> None:
        self.seconds, self.gib = seconds, gib
        self.processes: dict[Target, Process] = {}
        self.strikes: Counter[tuple[Target, str, torch.dtype]] = Counter()
        self.outcomes: dict[tuple[Target, str, torch.dtype], Outcome] = {}  # of the last that struck

    def probe(self, name: str, probe: Probe) -> Declared:
        """Import and build a candidate of that name."""
        with self._process(probe.target) as process:
            try:
                found = process.ask(probe, float("inf"))
            except Fault as fault:
                self._drop(probe.target)
                said = f"{process.stage} {fault}"
                return Declared(name, fault=f"expected {name!r} to import and build, but {said}")
        assert isinstance(found, Declared)
        return found

    def run(self, run: Run, implementation: Implementation, deadline: float) -> tuple[Outcome, bytes]:
        """Ask a trial, and return what it came to and the end of what the candidate printed.

        Args:
            run: what to ask.
            implementation: what is known here of the candidate.
            deadline: on the clock of time.monotonic.
        """
        subject = run.target, run.device, run.dtype
        if self.strikes[subject] >= STRIKES:
            return self.outcomes[subject], b""
        with self._process(run.target) as process:
            try:
                outcome = process.ask(run, deadline)
                assert isinstance(outcome, Outcome)
                if outcome.record.get("lost"):  # its device: whatever ran there next would fail
                    self._drop(run.target)
            except Fault as fault:
                self._drop(run.target)
                outcome = _outcome(run, implementation, process, fault)
                self.strikes[subject] += fault.costly
                again = f"{outcome.message}\n  it was not run again: {STRIKES} tests ended like this"
                record = {key: value for key, value in outcome.record.items() if key != "cases"}
                self.outcomes[subject] = replace(outcome, record=record, message=again)
            return replace(outcome, record={**outcome.record, "printed": process.printed}), process.tail

    @contextlib.contextmanager
    def _process(self, target: Target) -> Iterator[Process]:
        """Yield a candidate's process, and end it where anything goes wrong, an interruption included."""
        process = self.processes.pop(target, None)
        if process is not None and not process.process.is_alive():
            process.kill()
            process = None
        if len(self.processes) >= PROCESSES:
            self._drop(next(iter(self.processes)))
        self.processes[target] = process or Process(self.seconds, self.gib)
        try:
            yield self.processes[target]
        except BaseException:
            self._drop(target)
            raise

    def _drop(self, target: Target) -> None:
        if target in self.processes:
            self.processes.pop(target).kill()

    def close(self) -> None:
        """End every process."""
        for target in list(self.processes):
            self._drop(target)


def _outcome(run: Run, implementation: Implementation, process: Process, fault: Fault) -> Outcome:
    """Return a verdict against the candidate where that computed; of others it is no verdict."""
    name, case, counted = implementation.name, process.case, {"cases": process.cases}
    verdict = Verdict(implementation, case, misbehaviour=Ended(process.stage, str(fault))) if case else None
    if process.who != CANDIDATE:
        said = f"{process.who} {fault} in {process.stage}: nothing is said of {name}"
        if verdict is None:
            return Outcome(ERROR, counted, said)
        said += f"\n  case: {verdict.case.describe()}"
        return Outcome(ERROR, counted, said, replayed(verdict, run.aspect, run.trial))
    record = {**counted, "fault": f"{process.stage} {fault}"}
    if verdict is None:
        kind = implementation.kind.upper()
        return Outcome(FAILED, record, f"{name} is not the {kind} of the equations: {record['fault']}")
    trial = trial_named(run.aspect, run.trial)
    assert isinstance(trial, Trial)  # a question has no case
    program = reproducer(verdict, trial.check, run.aspect, run.trial)
    return Outcome(FAILED, record, verdict.message(), program.text)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module: a new process would import it, and a script that runs pytest would run it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
