"""The proof of the gate: on made-up processes, of which it is known how they are spread."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rnn_parity.bench.gate import proof
from rnn_parity.bench.gate.plan import QUICK_SHAPES
from rnn_parity.bench.gate.rule import Answer

AGGREGATES = ["gru=x.fused:GRU forward", "gru=x.fused:GRU training"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What four gates recorded, of six blocks each; processes are spread by 2 %, rounds by 1 %."""
    draw = np.random.default_rng(0)
    for gate in ("same-1", "same-2", "comment-1", "slow-1"):
        folder = tmp_path / f"{gate}-kept/first"
        folder.mkdir(parents=True)
        for number in range(24):
            side = ("base", "head", "head", "base")[number % 4]
            of = [cell(name, str(shape), draw) for name in AGGREGATES for shape, _ in QUICK_SHAPES]
            (folder / f"{number:03}-{side}.json").write_text(json.dumps({"benchmarks": of}))
        answer = "regression" if gate == "slow-1" else "fine"
        (tmp_path / f"{gate}.json").write_text(json.dumps({"answer": answer}))
    return tmp_path


def cell(aggregate: str, shape: str, draw: np.random.Generator) -> dict[str, object]:
    layer, control = (np.exp(draw.normal(0, 0.02) + draw.normal(0, 0.01, 9)).tolist() for _ in range(2))
    return {"extra_info": {"aggregate": aggregate, "shape": shape, "layer": layer, "control": control}}


def test_the_gate_tells_what_other_rules_do_not(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "RESAMPLED", 10)
    monkeypatch.setattr(proof, "ProcessPoolExecutor", ThreadPoolExecutor)  # which know of ten
    found = proof.judge(out, 0.05)
    assert found["real"] == {"comment": {"fine": 1}, "slow": {"regression": 1}, "same": {"fine": 2}}
    assert found["processes"] == 3 * 24
    gate = found["rules"]["gate"]
    assert gate["in nothing"] == 0
    assert gate["in a layer, 20%"] == gate["in a step of a layer, 20%"] == 1
    assert found["rules"]["Mann-Whitney, 0.05"]["in nothing"] > 0.3  # four timings at 0.05 each, of two processes
    json.dumps(found)


def test_a_slowdown_is_put_into_head_alone(out: Path) -> None:
    block = proof.recorded(out)[0]
    slower = proof.slowed(block, 0.1, AGGREGATES[1:])
    for name, extra in zip(AGGREGATES, (0.0, np.log(1.1)), strict=True):
        before, after = (np.asarray(found.block.pairs(name)) for found in (block, slower))
        assert after - before == pytest.approx(extra)
        assert slower.block.control(name) == block.block.control(name)
    (base, head), (_, slow) = proof.pair_of(block), proof.pair_of(slower)
    cell = f"{AGGREGATES[1]} {QUICK_SHAPES[0][0]}"
    assert slow[cell].layer == pytest.approx(1.1 * head[cell].layer)
    assert proof.pair_of(slower)[0][cell].layer == pytest.approx(base[cell].layer)


def test_base_and_head_change_places(out: Path) -> None:
    pool, chance = proof.recorded(out), random.Random(0)
    assert {proof.drawn(pool[:1], chance).block.order for _ in range(20)} == {"ABBA", "BAAB"}


def test_a_gate_that_is_drawn_stops_where_a_real_one_would(out: Path) -> None:
    pool, chance = proof.recorded(out), random.Random(0)
    drawn = iter(range(10_000))

    def draw() -> proof.Recorded:
        next(drawn)
        return proof.slowed(proof.drawn(pool, chance), 0.05, AGGREGATES)

    assert proof.gate_rule(draw, AGGREGATES, 0.05) != Answer.FINE
    assert next(drawn) <= 2 * proof.BLOCKS


def test_the_commit_that_slows_holds_calls_up_by_what_it_says() -> None:
    text = (
        "import time\nimport torch\n\n\nclass GRU:\n    def forward(self):\n        time.sleep(0.05)\n" + proof.SLOWED
    )
    made: dict[str, type] = {}
    exec(text, made)
    clock = made["time"].perf_counter  # type: ignore[attr-defined]
    start = clock()
    made["GRU"]().forward()
    assert 0.05 * 1.19 <= clock() - start < 0.09
