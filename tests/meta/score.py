"""Judges every planted fault and writes down what became of it.

    python -m rnn_parity.tests.meta.score --seeds 0 1 2 3 4 --jobs 2 --out score

writes FOLDER/score.md and FOLDER/score.json: for each defect and layer whether it was caught with every seed, by which
test, after how many cases and seconds, and how long the reproducer is. Exits with 1 and the names where one was missed,
where a reproducer does not reproduce, and where anything else than a verdict was raised. Every hunt is written down
when it ends: a run that was cut off goes on from there, unless the judge or the catalogue is another by now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from rnn_parity.bench.plain import PlainLayer
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.misbehaviour import Raised
from rnn_parity.judge.core.settings import restored
from rnn_parity.judge.core.verdict import ParityError, Verdict
from rnn_parity.judge.trials.schedule import DEFAULT_EXAMPLES, in_rounds
from rnn_parity.judge.trials.search import search
from rnn_parity.judge.trials.table import ASPECTS, TRIALS
from rnn_parity.judge.trials.trial import Tally, Trial
from rnn_parity.tests.meta.defects import DEFECTS, PLANTED
from rnn_parity.tests.meta.score_table import Hunt, write_score


def first_verdict(
    layer: type[PlainLayer],
    examples: int = DEFAULT_EXAMPLES,
    seed: int = 0,
    aspects: Sequence[str] = ASPECTS,
) -> tuple[Trial | None, ParityError | None, int]:
    """Judge a layer in float64 until a trial is against it: first a few cases of every trial, in the end all.

    Args:
        layer: of the catalogue.
        examples: cases for each trial.
        seed: which cases.
        aspects: those that are asked.

    Returns:
        The trial and its error, None where all passed, and the number of cases judged.
    """
    judged, dtype, tally = implementation_from(layer, layer.kind), torch.float64, Tally()
    trials = [trial for trial in TRIALS if trial.aspect in aspects and trial.applies_to(judged, dtype, "cpu")]
    for trial, plan in in_rounds(trials, judged, dtype, examples, seed):
        try:
            search(trial, judged, dtype, "cpu", plan, tally)
        except ParityError as error:
            return trial, error, tally.cases
    return None, None, tally.cases


def reproduced(error: ParityError) -> str | None:
    """Run a reproducer; return what is wrong with it in one line, None where it fails as it should."""
    if not error.plain:
        return f"no plain program: {error.unwritten or 'the reproducer asks the judge again'}"
    try:
        with restored(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.nn's, of dropout in a single layer and the like
            exec(error.reproducer, {})
    except AssertionError:
        return None
    except Exception as raised:
        if _is_that_of(error.verdict, raised):
            return None
        return f"the reproducer raised {type(raised).__name__}: {' '.join(str(raised).split())}"
    return "the reproducer passes"


def _is_that_of(verdict: Verdict, raised: Exception) -> bool:
    """Whether the exception is the one that the verdict is about."""
    seen = verdict.misbehaviour
    return isinstance(seen, Raised) and seen.exception == type(raised).__name__


def hunt(defect: str, variant: str, seed: int, examples: int = DEFAULT_EXAMPLES) -> Hunt:
    """Judge one defect in one layer with one seed, and try the reproducer."""
    start = time.process_time()
    try:
        trial, error, cases = first_verdict(PLANTED[defect, variant], examples, seed)
    except Exception as raised:
        fault = f"raised {type(raised).__name__}: {' '.join(str(raised).split())}"
        return Hunt(defect, variant, seed, seconds=time.process_time() - start, fault=fault)
    seconds = time.process_time() - start
    if trial is None or error is None:
        return Hunt(defect, variant, seed, cases=cases, seconds=seconds)
    lines = len(error.reproducer.splitlines())
    return Hunt(defect, variant, seed, repr(trial), cases, seconds, lines, reproduced(error))


def hunts(wanted: Sequence[tuple[str, str, int]], jobs: int) -> Iterator[Hunt]:
    """Hunt each defect, layer and seed, in several processes with a thread each; yield each hunt when it ends."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read where a process imports torch
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        running: list[Future[Hunt]] = [pool.submit(hunt, *one) for one in wanted]
        missed = 0
        progress = tqdm(as_completed(running), total=len(running), unit="hunt", mininterval=1)
        for done in progress:
            missed += not done.result().caught
            progress.set_postfix(missed=missed)
            yield done.result()


def hunted(folder: Path, wanted: Sequence[tuple[str, str, int]], jobs: int) -> list[Hunt]:
    """Hunt what a run that was cut off has left over, and return all that is wanted, in its order."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"hunts-{_state()}.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    ended = [Hunt(**json.loads(line)) for line in lines if line.endswith("}")]  # the last may be half written
    found = {(hunt.defect, hunt.variant, hunt.seed): hunt for hunt in ended}
    with log.open("a") as file:
        for hunt in hunts([one for one in wanted if one not in found], jobs):
            found[hunt.defect, hunt.variant, hunt.seed] = hunt
            file.write(f"\n{json.dumps(asdict(hunt))}")
            file.flush()
    return [found[one] for one in wanted]


def _state() -> str:
    """Return a name of what hunts depend on: PyTorch, the judge, the oracle and the catalogue, as they are."""
    package = Path(__file__).parents[2]
    files = [package / "bench" / "plain.py", Path(__file__)]
    for folder in ("reference", "judge", "tests/meta/defects"):
        files += sorted(path for path in (package / folder).rglob("*") if path.suffix in (".py", ".j2"))
    contents = (path.read_bytes() for path in files)
    return hashlib.sha256(b"\0".join([torch.__version__.encode(), *contents])).hexdigest()[:12]


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt, write both files, print the summary; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rnn_parity.tests.meta.score", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the cases (default: 0 to 4)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--only", metavar="NAME", help="only defects whose name holds NAME")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("score"), help="(default: score)")
    options = parser.parse_args(arguments)
    pairs = [pair for pair in PLANTED if options.only is None or options.only in pair[0]]
    if not pairs:
        parser.error(f"expected --only to be part of a defect's name, got {options.only!r}")
    found = hunted(options.out, [(*pair, seed) for pair in pairs for seed in options.seeds], options.jobs)
    reports = {defect.name: defect.report for defect in DEFECTS}
    print(write_score(options.out, found, reports))
    failed = [h for h in found if not h.caught]
    for h in failed:
        print(f"{h.defect} in {h.variant}, seed {h.seed}: {h.fault or 'missed'}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
