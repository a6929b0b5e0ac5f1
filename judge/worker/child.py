"""The process that a candidate is imported, built and run in; `isolation` is the other end."""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import os
import pickle
import pkgutil
import signal
import sys
import threading
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch

from . import aspects, progress
from .implementation import Implementation, ImplementationError, implementation_from, require_buildable_somewhere
from .subject import Subject
from .verdict import ParityError
from .watching import restored

assert aspects  # with all that the trials need: a process that is forked from one that has it starts at once

ORPHANED = 600  # seconds past its time limit after which a process ends even if its interpreter has stopped

# Where a candidate comes from: its kind and MODULE:ATTRIBUTE, or a pickled `Implementation`.
Target = tuple[str, str | bytes]


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Args:
        value: what was asked for.
        failure: what failed, for a person; None where nothing did.
        reproducer: a program that shows it.
        fault: what the candidate did to its process, where that survived it.
    """

    value: dict[str, Any]
    failure: str | None = None
    reproducer: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Probe:
    """Ask what a candidate declares, and have the smallest layer built in the first of the places it supports."""

    target: Target
    places: tuple[tuple[str, torch.dtype], ...]

    def answer(self) -> Answer:
        """Import and build the candidate."""
        try:
            progress.begins("importing it")
            with restored():
                found = loaded(self.target)
                progress.begins("building it")
                require_buildable_somewhere(found, self.places)
        except Exception as error:
            return Answer({}, " ".join(str(error).split()))
        return Answer(
            {
                "name": found.name,
                "unsupported": sorted(found.unsupported),
                "draws_like_builtin": found.draws_like_builtin,
                "adapter": found.from_builtin is not None,
            }
        )


@dataclass(frozen=True)
class Run:
    """Ask a test about a candidate.

    Args:
        target: the candidate.
        subject: the other fields of the test's `Subject`.
        function: MODULE:NAME of the test.
        arguments: the others that the test takes.
        filters: what becomes of warnings in it.
    """

    target: Target
    subject: dict[str, Any]
    function: str
    arguments: dict[str, Any]
    filters: list[Any] = field(default_factory=lambda: list(warnings.filters))

    def answer(self) -> Answer:
        """Run the test and return the subject's record."""
        try:
            with restored():
                progress.begins("importing it")
                subject = Subject(loaded(self.target), **self.subject)
            function = pkgutil.resolve_name(self.function)
            progress.begins("it")
            with restored(), warnings.catch_warnings():
                warnings.filters[:] = self.filters  # type: ignore[index]
                function(subject=subject, **self.arguments)
        except ImplementationError as error:
            return Answer({}, str(error))
        except ParityError as error:
            return Answer(subject.record, str(error), error.reproducer)
        except Exception as error:
            return Answer({}, str(pytest.ExceptionInfo.from_exception(error).getrepr(showlocals=True)))
        except BaseException as error:  # the layer's, whatever it is: this process is its own
            return Answer({}, fault=f"raised {type(error).__name__}: {' '.join(str(error).split())}")
        return Answer(subject.record)


@functools.cache
def loaded(target: Target) -> Implementation:
    """Import a candidate, once."""
    kind, location = target
    if isinstance(location, bytes):
        implementation: Implementation = pickle.loads(location)
        return implementation
    return implementation_from(location, kind)


def serve(requests: Connection, output: Connection, seconds: float, threads: int) -> None:
    """Answer requests until the parent closes the connection.

    Args:
        requests: pairs of sys.path and a request come through it, cases, stages and answers go back.
        output: takes the place of standard output and standard error.
        seconds: the parent's patience; it ends this process when nothing is heard for so long.
        threads: that PyTorch uses.
    """
    os.setsid()  # so that Ctrl-C reaches the parent alone, and the parent ends this process with all that it started
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    _offer_to_the_killer()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(threads)
    requests.send("ready")
    patience = math.ceil(seconds) + ORPHANED

    def heartbeat(message: Any) -> None:
        signal.alarm(patience)
        requests.send(message)

    progress.listen(heartbeat)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            sys.path[:], request = requests.recv()
            answer = request.answer()
            signal.alarm(0)
            with contextlib.suppress(ValueError):  # closed
                sys.stdout.flush()
            requests.send(answer)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(os.getpid(), signal.SIGKILL)


def _offer_to_the_killer() -> None:
    """Where the machine's memory ends before the limit does, Linux is to end this process and no other."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
