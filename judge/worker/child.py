"""The process that a candidate is imported, built and run in; `parent` is the other end."""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import psutil
import torch

from ...reference.builtin import builtin_layer
from ...reference.spec import LayerSpec
from ..core.candidate import Implementation, ImplementationError, implementation_from, require_buildable_somewhere
from ..core.device import lost_device
from ..core.guard import CANDIDATE, JUDGE, begins, listen
from ..core.results import FAILED
from ..core.settings import restored
from ..trials.search import asked
from ..trials.table import trial_named
from ..trials.trial import Outcome
from .messages import Answer, Declared, Fault, Probe, Run, Target

limits = {"GiB": math.inf}  # by which what PyTorch allocates on a device may grow

ORPHANED = 600  # seconds past its time limit after which a process ends even if its interpreter has stopped


class NotLoadable(Exception):
    """What was pickled cannot be unpickled here."""


@functools.cache
def loaded(target: Target) -> Implementation:
    """Import a candidate, once."""
    kind, location = target
    begins((CANDIDATE, "importing it"))
    with restored():
        if isinstance(location, str):
            return implementation_from(location, kind)
        try:
            implementation: Implementation = pickle.loads(location)
        except Exception as error:  # of what is pickled, anything may raise anything
            raise NotLoadable from error
        return implementation


@functools.cache
def start(device: str) -> None:
    """Have CUDA and its libraries take their memory before a candidate computes, and watch what is allocated there.

    Args:
        device: with its name as in the request; of others than CUDA's nothing is known.
    """
    if torch.device(device).type != "cuda":
        return
    begins((JUDGE, "starting the device"))
    layer = builtin_layer(LayerSpec("gru", 2, 3), device=device, dtype=torch.float32)
    layer(torch.zeros(1, 1, 2, device=device))[0].sum().backward()
    torch.cuda.synchronize(device)
    whole = torch.cuda.get_device_properties(device).total_memory
    allowed = torch.cuda.memory_reserved(device) + limits["GiB"] * 2**30
    index = torch.zeros(0, device=device).get_device()
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / whole), index)


def declared(probe: Probe) -> Declared:
    """Import and build a candidate, and return what it says of itself."""
    try:
        found = loaded(probe.target)
        start(probe.places[0][0])
        begins((CANDIDATE, "building it"))
        with restored():
            require_buildable_somewhere(found, probe.places)
    except NotLoadable:
        return Declared(loadable=False)
    except Exception as error:
        return Declared(fault=" ".join(str(error).split()))
    unsupported, adapter = tuple(sorted(found.unsupported)), found.from_builtin is not None
    return Declared(found.name, unsupported, found.dialect, found.draws_like_builtin, adapter)


def outcome(run: Run) -> Outcome:
    """Ask a trial about a candidate."""
    try:
        implementation = loaded(run.target)
    except ImplementationError as error:
        return Outcome(FAILED, {"fault": str(error)}, str(error))
    start(run.device)
    begins((JUDGE, "drawing cases"))
    with restored():
        trial = trial_named(run.aspect, run.trial)
        found = asked(trial, implementation, run.dtype, run.device, run.examples, run.seed, run.without)
    lost = {} if lost_device() is None else {"lost": True}
    return replace(found, record={**found.record, **lost})


def answer(request: Probe | Run) -> Answer:
    """Answer a request, whatever the candidate raises."""
    try:
        return declared(request) if isinstance(request, Probe) else outcome(request)
    except BaseException as error:  # the layer's, whatever it is: this process is its own
        return Fault(f"raised {type(error).__name__}: {' '.join(str(error).split())}")


def serve(requests: Connection, output: Connection, seconds: float, gib: float, threads: int) -> None:
    """Answer requests until the parent closes the connection.

    Args:
        requests: pairs of sys.path and a request come through it; back go answers, and before them every case and stage
            that begins, with the bytes of memory that this process has then.
        output: takes the place of standard output and standard error.
        seconds: the parent's patience with the candidate; it ends this process when nothing is heard for so long.
        gib: by which the candidate may let it grow; the parent looks after the host's memory, this process after a
            device's.
        threads: that PyTorch uses.
    """
    limits["GiB"] = gib
    os.setsid()  # so that Ctrl-C reaches the parent alone, and the parent ends this process with all that it started
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    _offer_to_the_killer()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(threads)
    requests.send("ready")
    patience = math.ceil(seconds) + ORPHANED
    this = psutil.Process()

    def heartbeat(begun: Any) -> None:
        computes = isinstance(begun, tuple) and begun[0] == CANDIDATE
        signal.alarm(patience if computes else 0)
        requests.send((begun, this.memory_info().rss))

    listen(heartbeat)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            sys.path[:], request = requests.recv()
            answered = answer(request)
            signal.alarm(0)
            with contextlib.suppress(ValueError):  # closed
                sys.stdout.flush()
            requests.send(answered)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(os.getpid(), signal.SIGKILL)


def _offer_to_the_killer() -> None:
    """Where the machine's memory ends before the limit does, Linux is to end this process and no other."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
