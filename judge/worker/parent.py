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
from multiprocessing import get_all_start_methods
from multiprocessing.connection import wait

import psutil
import torch

from . import child
from .cases import Case
from .child import Answer, Probe, Run, Target
from .reproducers.reproducer import plain
from .subject import Subject
from .verdict import Verdict

# What a new process finds imported: all that the trials need, and what PyTorch imports at the first backward pass.
PRELOADED = [child.__name__, "torch.fx.experimental.symbolic_shapes"]

AVAILABLE = "forkserver" in get_all_start_methods()

POLL = 0.05  # seconds between two looks at a process that says nothing
SHOWN = 2000  # bytes of its output that are kept
PROCESSES = 4  # at most; the one that was idle longest makes room
STRIKES = 2  # tests of a subject that may cost their whole time limit or memory


class Fault(Exception):
    """What a candidate did to its process, after the part of it that did: "ended its process with exit status 3"."""

    costly = False


class Excess(Fault):
    """A fault that costs a whole time limit, or memory."""

    costly = True


class Process:
    """A process with one candidate in it.

    Args:
        seconds: in which it must be heard of.
        gib: by which it may grow while it answers.
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
        self.process = context.Process(target=child.serve, args=(requests, written, seconds, threads))
        with _without_main():
            self.process.start()
        requests.close()
        written.close()
        self._forget()
        self.connection.recv()  # the first of all waits until the server has imported PyTorch

    def _forget(self) -> None:
        self.case: Case | None = None
        self.stage, self.cases, self.printed, self.tail = "it", 0, 0, b""

    def ask(self, request: Probe | Run, deadline: float) -> Answer:
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

    def _answer(self, deadline: float) -> Answer:
        heard = looked = time.monotonic()
        most = self._size() + self.gib * 2**30
        while True:
            ready = wait([self.connection, self.process.sentinel, *self.outputs], POLL)
            if self.output in ready:
                self._drain()
            now = time.monotonic()
            if self.connection in ready:
                message, heard = self.connection.recv(), now
                if isinstance(message, Answer):
                    if message.fault is not None:
                        raise Fault(message.fault)
                    return message
                self._note(message)
            elif self.process.sentinel in ready:
                raise EOFError
            if now - heard > self.seconds:
                raise Excess(f"did not return within {self.seconds:g} s")
            if now > deadline:
                raise Excess("did not return in the time that pytest-timeout gives the test")
            if now - looked >= POLL:
                looked = now
                if self._size() > most:
                    raise Excess(f"used more than {self.gib:g} GiB of memory")

    def _note(self, begun: Case | str) -> None:
        if isinstance(begun, Case):
            self.case, self.stage, self.cases = begun, "it", self.cases + 1
        else:
            self.stage = begun

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


class Isolation:
    """The processes of one pytest run.

    Args:
        seconds: in which a candidate must be heard of.
        gib: of memory that it may take.
    """

    def __init__(self, seconds: float, gib: float) -> None:
        self.seconds, self.gib = seconds, gib
        self.processes: dict[Target, Process] = {}
        self.strikes: Counter[str] = Counter()
        self.faults: dict[str, Answer] = {}

    def probe(self, target: Target, places: list[tuple[str, torch.dtype]]) -> Answer:
        """Import and build a candidate; a failure is one line."""
        with self._process(target) as process:
            try:
                return process.ask(Probe(target, tuple(places)), float("inf"))
            except Fault as fault:
                self._drop(target)
                return Answer({}, f"expected {target[1]!r} to import and build, but {process.stage} {fault}")

    def run(self, subject: Subject, request: Run, deadline: float) -> tuple[Answer, bytes]:
        """Run a test and return what came of it, and the end of what it printed.

        Args:
            subject: the test's.
            request: the test.
            deadline: on the clock of time.monotonic.
        """
        key = str(subject)
        if self.strikes[key] >= STRIKES:
            return self.faults[key], b""
        with self._process(request.target) as process:
            try:
                answer = process.ask(request, deadline)
            except Fault as fault:
                self._drop(request.target)
                answer = _verdict(subject, process, fault)
                self.strikes[key] += fault.costly
                again = f"{answer.failure}\n  it was not run again: {STRIKES} tests ended like this"
                self.faults[key] = Answer({"fault": answer.value["fault"]}, again, answer.reproducer)
            if process.printed:
                answer.value["printed"] = process.printed
            return answer, process.tail

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


def _verdict(subject: Subject, process: Process, fault: Fault) -> Answer:
    said = f"{process.stage} {fault}"
    record = {"fault": said, "cases": process.cases}
    if process.case is None:
        return Answer(
            record, f"{subject.implementation.name} is not the {subject.kind.upper()} of the equations: {said}"
        )
    verdict = Verdict(subject.implementation, process.case, misbehaviour=said)
    return Answer(record, verdict.message(), plain(verdict))


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module: a new process would import it, and a script that runs pytest would run it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
