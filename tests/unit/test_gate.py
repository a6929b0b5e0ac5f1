"""The gate's rule, and what is compared exactly; processes are made up, so that what is true of them is known."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rnn_parity.bench.arms import Shape
from rnn_parity.bench.gate import exact
from rnn_parity.bench.gate.calls import assert_equal_results, calls_of
from rnn_parity.bench.gate.compare import Take, compared
from rnn_parity.bench.gate.counts import counts_of
from rnn_parity.bench.gate.outcome import Outcome
from rnn_parity.bench.gate.pairs import BASE, Block, block, ratios_of, undisturbed
from rnn_parity.bench.gate.plan import OURS, Aggregate, Layer, Plan, aggregates_of
from rnn_parity.bench.gate.rule import LOOKS, LOOKS_AGAIN, Answer, Rule
from rnn_parity.bench.gate.workplace import GateError

AGGREGATES = ["gru=a:GRU forward", "gru=a:GRU training"]
SMALL = Shape(2, 3, 4, 5)
NOISE = 0.02  # of a process


def processes(slower: float = 0.0, noise: float = NOISE, drift: float = 0.0, seed: int = 0) -> Take:
    """Return what takes blocks of processes of which head's training step is slower."""
    chance, draw = random.Random(seed), np.random.default_rng(seed)
    when = iter(range(10_000))

    def measure(side: str) -> dict[str, float]:
        at = drift * next(when)
        extra = 0.0 if side == BASE else np.log1p(slower)
        return {name: draw.normal(at, noise) + extra * name.endswith("training") for name in AGGREGATES}

    return lambda _: block(measure, chance)


def only(blocks: int, take: Take) -> Take:
    left = iter(range(blocks))
    return lambda aggregates: None if next(left, None) is None else take(aggregates)


@pytest.mark.parametrize(
    ("slower", "answer"),
    [(0.0, Answer.FINE), (0.1, Answer.REGRESSION), (0.2, Answer.REGRESSION), (-0.2, Answer.FINE)],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_slowdown_is_told_from_none(slower: float, answer: Answer, seed: int) -> None:
    take = processes(slower, seed=seed)
    assert compared(take, take, AGGREGATES, 0.05).answer() == answer


def test_a_slowdown_at_the_tolerance_is_never_fine_and_never_a_regression() -> None:
    takes = [processes(0.05, seed=seed) for seed in range(8)]
    answers = [compared(take, take, AGGREGATES, 0.05).answer() for take in takes]
    assert answers.count(Answer.UNDECIDED) >= 6, answers


def test_noise_without_a_slowdown_is_no_regression_however_large() -> None:
    takes = [processes(noise=noise, seed=seed) for noise in (0.1, 1.0) for seed in range(6)]
    assert Answer.REGRESSION not in [compared(take, take, AGGREGATES, 0.05).answer() for take in takes]


def test_a_machine_that_slows_down_all_the_time_favours_neither_side() -> None:
    takes = [processes(drift=0.005, seed=seed) for seed in range(10)]
    assert {compared(take, take, AGGREGATES, 0.05).answer() for take in takes} == {Answer.FINE}


def test_where_base_is_slower_than_base_there_is_no_verdict() -> None:
    take = processes(0.5, drift=0.2)
    timing = compared(take, take, AGGREGATES, 0.05)
    assert timing.answer() == Answer.UNDECIDED
    assert timing.noisy() == AGGREGATES
    assert "too noisy: base against base differs by +" in Outcome("a", "b", 0.05, timing=timing).lines()[-1]


def test_what_is_slower_once_and_not_again_is_no_regression() -> None:
    timing = compared(processes(0.2), processes(0.0), AGGREGATES, 0.05)
    assert timing.first.suspects() == ["gru=a:GRU training"]
    assert timing.second is not None
    assert timing.answer() == Answer.FINE


def test_only_what_looks_slower_is_measured_again() -> None:
    asked: list[Sequence[str]] = []
    take = processes(0.2)

    def again(aggregates: Sequence[str]) -> Block | None:
        asked.append(aggregates)
        return take(aggregates)

    compared(processes(0.2), again, AGGREGATES, 0.05)
    assert set(map(tuple, asked)) == {("gru=a:GRU training",)}


def test_without_the_time_to_measure_again_it_stays_undecided() -> None:
    timing = compared(processes(0.2), only(LOOKS_AGAIN[0] - 1, processes(0.2)), AGGREGATES, 0.05)
    assert timing.answer() == Answer.UNDECIDED


def test_too_few_blocks_are_undecided_and_say_so() -> None:
    timing = compared(only(2, processes()), processes(), AGGREGATES, 0.05)
    outcome = Outcome("base a", "head b", 0.05, timing=timing)
    assert outcome.answer() == Answer.UNDECIDED
    assert "after 2 of 6 blocks: allow more --minutes" in outcome.lines()[-1]


def test_more_blocks_are_taken_while_it_is_undecided() -> None:
    timing = compared(processes(0.05), processes(0.05), AGGREGATES, 0.05)
    assert len(timing.first.blocks) > LOOKS[0]


def test_the_level_is_kept_at_the_edge_of_the_tolerance() -> None:
    rule, draw = Rule(0.05, tests=1), np.random.default_rng(0)
    edge = [rule.judge(np.log1p(0.05) + draw.normal(0, NOISE, 12)).answer for _ in range(300)]
    assert edge.count(Answer.REGRESSION) / 300 < 0.08
    assert edge.count(Answer.FINE) / 300 < 0.08


def test_a_block_pairs_neighbours_and_compares_base_with_base() -> None:
    found = Block("ABBA", ({"x": 1.0}, {"x": 1.5}, {"x": 1.7}, {"x": 1.1}))
    assert found.pairs("x") == pytest.approx([0.5, 0.6])
    assert found.control("x") == pytest.approx(0.1)
    assert Block("BAAB", found.processes).pairs("x") == pytest.approx([-0.5, -0.6])


def test_the_slower_half_of_the_rounds_is_disturbed() -> None:
    assert undisturbed([9.0, 1.0, 2.0, 50.0, 3.0]) == 2.0


def test_ratios_are_means_over_shapes(tmp_path: Path) -> None:
    infos = [{"aggregate": "x", "layer": [2.0], "control": [1.0]}, {"aggregate": "x", "layer": [8.0], "control": [1.0]}]
    file = tmp_path / "times.json"
    file.write_text(json.dumps({"benchmarks": [{"extra_info": info} for info in infos]}))
    assert ratios_of(file) == {"x": pytest.approx(np.log(4.0))}


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = Plan(aggregates_of(OURS), threads=2)
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    assert len(plan.aggregates) == 12


@pytest.mark.parametrize("layer", [OURS[0], OURS[-1]], ids=str)
@pytest.mark.parametrize("step", ["forward", "training"])
def test_counts_do_not_vary(layer: Layer, step: str) -> None:
    first, second = (counts_of(calls_of(Aggregate(layer, step), SMALL, "cpu").layer, "cpu") for _ in range(2))
    assert first == second
    assert first["operators"]
    # PyTorch counts the products that it takes itself.
    assert (first["multiply_adds"] > 0) == (layer == OURS[0])
    assert first["peak_bytes"] > 0
    assert (first["saved_bytes"] > 0) == (step == "training")


def test_counts_are_those_of_the_operators() -> None:
    x, W = torch.ones(3, 4, requires_grad=True), torch.ones(4, 5, requires_grad=True)

    def call() -> list[torch.Tensor]:
        return [*torch.autograd.grad((x @ W).tanh().sum(), [x, W])]

    found = counts_of(call, "cpu")
    assert found["operators"]["aten.mm.default"] == 3
    assert found["operators"]["aten.tanh_backward.default"] == 1
    assert found["multiply_adds"] == 3 * 3 * 4 * 5
    assert found["saved_bytes"] == 4 * (3 * 4 + 4 * 5 + 3 * 5)


def counts(**changed: object) -> exact.Cells:
    plain = {"operators": {"aten.mm": 2, "aten.tanh": 3}, "multiply_adds": 10, "peak_bytes": 64, "instructions": 1000}
    return {"gru=a:GRU forward B1": {**plain, **changed}}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"operators": {"aten.mm": 2, "aten.tanh": 5}},
            "gru=a:GRU forward B1: operator calls (aten.tanh 3 -> 5) 5 -> 7",
        ),
        ({"multiply_adds": 11}, "gru=a:GRU forward B1: multiply adds 10 -> 11"),
        ({"peak_bytes": 65}, "gru=a:GRU forward B1: peak bytes 64 -> 65"),
        ({"instructions": 1100}, "gru=a:GRU forward B1: instructions 1,000 -> 1,100"),
    ],
)
def test_a_count_that_grows_is_a_regression_until_it_is_accepted(changed: dict[str, object], said: str) -> None:
    (change,) = exact.changes(counts(), counts(**changed), {})
    assert str(change) == said
    assert Outcome("a", "b", 0.05, changes=[change]).answer() == Answer.REGRESSION
    (taken,) = exact.changes(counts(), counts(**changed), counts(**changed))
    assert Outcome("a", "b", 0.05, changes=[taken]).answer() == Answer.FINE
    assert str(taken) == f"{said}, accepted"


def test_what_gets_cheaper_or_trembles_is_no_regression() -> None:
    cheaper = exact.changes(counts(), counts(multiply_adds=9, operators={"aten.mm": 1, "aten.add": 3}), {})
    assert len(cheaper) == 2
    assert Outcome("a", "b", 0.05, changes=cheaper).answer() == Answer.FINE
    assert exact.changes(counts(), counts(instructions=1009), {}) == []


def test_accepted_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "gate-counts.json"
    assert exact.read_accepted(file) == {}
    exact.write_accepted(file, counts())
    assert exact.read_accepted(file) == counts()
    assert len(file.read_text().splitlines()) == 3
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "to hold accepted counts"),
        ("nonsense", "to hold accepted counts"),
        ('{"version": 9, "counts": {}}', "got 9"),
    ],
)
def test_other_files_of_accepted_counts_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(GateError, match=said):
        exact.read_accepted(tmp_path / "counts.json")


class Doubled(torch.nn.GRU):
    def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
        output, h_n = super().forward(input, hx)
        return 2 * output, h_n


def test_a_layer_with_other_results_is_not_timed() -> None:
    with pytest.raises(AssertionError, match="error"):
        assert_equal_results(Aggregate(Layer("gru", f"{__name__}:Doubled"), "training"), SMALL, "cpu")
    assert_equal_results(Aggregate(Layer("gru", "torch.nn:GRU"), "training"), SMALL, "cpu")
