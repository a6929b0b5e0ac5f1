"""What is drawn: every rule of the design occurs within 500 draws, and nothing that is declared unsupported."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from rnn_parity.judge.core.call import passed
from rnn_parity.judge.core.candidate import DTYPES, FEATURES, Implementation, implementation_from
from rnn_parity.judge.core.case import LAYOUTS, Case, tensors_of, weights_of
from rnn_parity.judge.core.strategies import VARIATIONS, cases
from rnn_parity.judge.trials import search
from rnn_parity.judge.trials.schedule import DEFAULT_EXAMPLES, TILED_ROUND, blocks
from rnn_parity.judge.trials.table import TRIALS
from rnn_parity.judge.trials.trial import Trial
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.meta.defects import variant_of

DRAWS = 500
SEEDS = 5  # Hypothesis varies what it has drawn, so that the draws of one seed are much alike


def drawn(implementation: Implementation, draws: int, dtype: torch.dtype = torch.float64) -> list[Case]:
    found: list[Case] = []
    run = settings(
        max_examples=draws // SEEDS,
        database=None,
        derandomize=False,  # or the seed would not count
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def keep(case: Case) -> None:
        found.append(case)

    for number in range(SEEDS):
        seed(number)(run(given(cases(implementation, dtype))(keep)))()
    return found


def _results(case: Case) -> int:
    return 3 if case.spec.kind == "lstm" else 2


RULES: dict[str, Callable[[Case], bool]] = {
    "seq_len 1": lambda c: c.seq_len == 1,
    "seq_len 2": lambda c: c.seq_len == 2,
    "seq_len 3": lambda c: c.seq_len == 3,
    "seq_len past 64": lambda c: c.seq_len > 64,
    "batch 1": lambda c: c.batch == 1,
    "batch 2": lambda c: c.batch == 2,
    "batch 3": lambda c: c.batch == 3,
    "batch past 100": lambda c: c.batch > 100,
    "input_size other than hidden_size": lambda c: c.spec.input_size != c.spec.hidden_size,
    "odd input_size": lambda c: c.spec.input_size % 2 == 1,
    "odd hidden_size": lambda c: c.spec.hidden_size % 2 == 1,
    "wide hidden_size": lambda c: c.spec.hidden_size > 32,
    "wide input_size": lambda c: c.spec.input_size > 32,
    "one layer": lambda c: c.spec.num_layers == 1,
    "three layers": lambda c: c.spec.num_layers == 3,
    "two directions": lambda c: c.spec.bidirectional,
    "layers and directions": lambda c: c.spec.bidirectional and c.spec.num_layers > 1,
    "four biases": lambda c: c.spec.bias,
    "no bias": lambda c: not c.spec.bias,
    "state given": lambda c: c.states == "given",
    "state absent": lambda c: c.states == "absent",
    "state of zeros": lambda c: c.states == "zeros",
    "weights zero": lambda c: c.weight_scale == 0,
    "weights small": lambda c: c.weight_scale == 0.05,
    "weights of scale 1": lambda c: c.weight_scale == 1,
    "weights saturating": lambda c: c.weight_scale == 4,
    "input saturating": lambda c: c.input_scale == 8,
    "loss on all results": lambda c: len(c.cotangents) == _results(c),
    "loss on output alone": lambda c: c.cotangents == ("output",),
    "loss on h_n alone": lambda c: c.cotangents == ("h_n",),
    "some parameters frozen": lambda c: bool(c.frozen),
    "input without gradient": lambda c: not c.input_grad,
    "train": lambda c: c.modes == ("train",),
    "eval": lambda c: c.modes == ("eval",),
    "train, eval": lambda c: c.modes[-2:] == ("train", "eval"),
    "train, eval, train": lambda c: c.modes == ("train", "eval", "train"),
    "after larger calls": lambda c: len(c.modes) > 1 and c.more == 1 and c.seq_len > 1 and c.batch > 1,
    "after smaller calls": lambda c: len(c.modes) > 1 and c.more == -1 and c.seq_len > 1 and c.batch > 1,
    "the same module twice": lambda c: len(c.modes) == 2,
    **{f"input {layout}": lambda c, layout=layout: c.input_layout == layout for layout in LAYOUTS},
    **{f"state {layout}": lambda c, layout=layout: c.state_layout == layout for layout in LAYOUTS},
    "packed, declared sorted": lambda c: c.lengths is not None and c.enforce_sorted,
    "packed, not sorted": lambda c: c.lengths is not None and list(c.lengths) != sorted(c.lengths, reverse=True),
    "packed, equal lengths": lambda c: c.lengths is not None and c.batch > 1 and len(set(c.lengths)) == 1,
    "packed, distinct lengths": lambda c: c.lengths is not None and c.batch > 1 and len(set(c.lengths)) == c.batch,
    "packed, a length of 1": lambda c: c.lengths is not None and 1 in c.lengths and c.seq_len > 1,
    "packed, two directions": lambda c: c.lengths is not None and c.spec.bidirectional,
    "batch_first": lambda c: c.spec.batch_first and c.batched and c.lengths is None,
    "time first": lambda c: not c.spec.batch_first,
    "unbatched": lambda c: not c.batched,
}
OF_KIND: dict[str, dict[str, Callable[[Case], bool]]] = {
    "rnn": {"relu": lambda c: c.spec.nonlinearity == "relu", "tanh": lambda c: c.spec.nonlinearity == "tanh"},
    "gru": {},
    "lstm": {
        "projection": lambda c: c.spec.proj_size > 0,
        "no projection": lambda c: c.spec.proj_size == 0,
        "h_0 without gradient, c_0 with": lambda c: not c.state_grad and c.cell_grad,
        "c_0 without gradient, h_0 with": lambda c: c.state_grad and not c.cell_grad,
        **{f"cell {layout}": lambda c, layout=layout: c.cell_layout == layout for layout in LAYOUTS},
        "h_0 and c_0 in other layouts": lambda c: c.state_layout != c.cell_layout,
        "loss on c_n alone": lambda c: c.cotangents == ("c_n",),
    },
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_rule_occurs(kind: str) -> None:
    count: Counter[str] = Counter()
    for case in drawn(implementation_from(LAYERS[kind], kind), DRAWS):
        count.update(name for name, holds in (RULES | OF_KIND[kind]).items() if holds(case))
    assert {name for name in RULES | OF_KIND[kind] if not count[name]} == set()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("trial", [trial for trial in TRIALS if trial.tiles], ids=repr)
def test_each_size_is_once_past_the_largest_tile(trial: Trial, dtype: torch.dtype) -> None:
    for kind, layer in LAYERS.items():
        judged, found = implementation_from(layer, kind), list[Case]()
        for block in blocks(trial, judged, dtype, DEFAULT_EXAMPLES, seed=0)[TILED_ROUND]:
            search.draw(found.append, trial, judged, dtype, "cpu", block)
        for kernel in {"rnn": ("rnn-tanh", "rnn-relu"), "gru": ("gru",), "lstm": ("lstm", "lstm-proj")}[kind]:
            own = [case for case in found if variant_of(case.spec) == kernel]
            assert max(case.seq_len for case in own) > 1024
            assert max(case.batch for case in own) > 1024
            assert max(case.spec.input_size for case in own) > 1024
            largest = 512 if dtype == torch.float64 else 1024  # in float64 the oracle's time forbids more
            assert max(case.spec.hidden_size for case in own) > largest
            assert max(case.spec.state_size for case in own) > largest


def test_states_and_biases_are_distinct_and_not_zero() -> None:
    case = next(
        case
        for case in drawn(implementation_from(LAYERS["lstm"], "lstm"), 100)
        if case.states == "given" and case.spec.bias and case.spec.num_layers > 1 and case.state_layout != "expanded"
    )
    tensors, weights = tensors_of(case), weights_of(case)
    rows = [*tensors["h_0"], *tensors["c_0"]]
    vectors = [row.flatten() for row in rows] + [w for name, w in weights.items() if name.startswith("bias")]
    assert all(vector.all() for vector in vectors)
    assert len({round(vector[0].item(), 9) for vector in vectors}) == len(vectors)


def test_who_changes_a_tensor_of_a_case_changes_it_for_nobody_else() -> None:
    case = next(case for case in drawn(implementation_from(LAYERS["gru"], "gru"), 50) if case.cotangents)
    before = {name: tensor.clone() for name, tensor in tensors_of(case).items()}
    for tensor in tensors_of(case).values():
        tensor.fill_(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(case).items())


@pytest.mark.parametrize("kind", LAYERS)
def test_nothing_unsupported_is_drawn(kind: str) -> None:
    everything = replace(implementation_from(LAYERS[kind], kind), unsupported=frozenset(FEATURES))
    plain = {
        "num_layers": 1, "bidirectional": False, "bias": True, "batch_first": False,
        "nonlinearity": "tanh", "proj_size": 0,
    }  # fmt: skip
    for case in drawn(everything, 50):
        assert {name: getattr(case.spec, name) for name in plain} == plain
        assert (case.states, case.lengths, case.batched, case.cotangents) == ("absent", None, True, ())
        assert (case.input_layout, case.state_layout) == ("contiguous", "contiguous")


def test_layouts_hold_the_same_values_in_other_memory() -> None:
    case = next(case for case in drawn(implementation_from(LAYERS["gru"], "gru"), 50) if case.seq_len > 2 < case.batch)
    case = replace(case, lengths=None, batched=True, spec=replace(case.spec, input_size=3))
    for layout in LAYOUTS:
        as_drawn = replace(case, input_layout=layout)
        values = tensors_of(as_drawn)["input"]
        tensor = passed(values, as_drawn, "input")
        expected = values.transpose(0, 1) if case.spec.batch_first else values
        assert torch.equal(tensor, expected)
        assert tensor.is_contiguous() == (layout in ("contiguous", "offset"))
        assert (tensor.storage_offset() > 0) == (layout == "offset")


def test_a_case_names_itself_and_can_be_pasted() -> None:
    from rnn_parity.reference import LayerSpec

    case = Case(LayerSpec("gru", 3, 4, bidirectional=True), torch.float64, "cpu", 5, 2, seed=7, states="absent")
    assert eval(repr(case), {"Case": Case, "LayerSpec": LayerSpec, "torch": torch}) == case
    assert case.describe() == (
        "gru(input_size=3, hidden_size=4, bidirectional=True, dtype=float64, device=cpu, seq_len=5, batch=2, seed=7, "
        "states=absent)"
    )


def test_variations_are_known() -> None:
    from rnn_parity.judge.trials.table import TRIALS

    assert set().union(*(trial.vary for trial in TRIALS)) == VARIATIONS
