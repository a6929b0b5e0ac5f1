"""The catalogue is what it says: enough of it, each entry with a report, and right where its fault is not planted."""

import pkgutil
import re

import pytest
import torch

from rnn_parity.bench.plain import PLAIN, PlainLayer
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.reference import LayerSpec
from rnn_parity.tests.meta.defects import ALL, DEFECTS, PLANTED, Defect, variant_of

REPORT = re.compile(r"(near )?(known-defects: \S.*|[\w-]+#\d+(, [\w-]+#\d+)*)")
OF_ANOTHER = {
    "rnn-tanh": {"nonlinearity": "relu"},
    "rnn-relu": {"nonlinearity": "tanh"},
    "lstm": {"proj_size": 2},
    "lstm-proj": {"proj_size": 0},
}


def test_it_has_enough_pairs_and_every_layer_its_part() -> None:
    assert len(PLANTED) >= 360
    assert {variant for _, variant in PLANTED} == set(ALL)


def test_a_name_is_one_entry_of_a_layer() -> None:
    assert len(PLANTED) == sum(len(defect.variants) for defect in DEFECTS)
    assert len({layer.__name__ for layer in PLANTED.values()}) == len(PLANTED)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "_"))
def test_an_entry_cites_a_report_and_changes_something(defect: Defect) -> None:
    assert REPORT.fullmatch(defect.report), defect.report
    assert defect.changes
    assert set(defect.variants) <= set(ALL)


@pytest.mark.parametrize(
    ("spec", "variant"),
    [
        (LayerSpec("rnn", 1, 1), "rnn-tanh"),
        (LayerSpec("rnn", 1, 1, nonlinearity="relu"), "rnn-relu"),
        (LayerSpec("gru", 1, 1), "gru"),
        (LayerSpec("lstm", 1, 1), "lstm"),
        (LayerSpec("lstm", 1, 2, proj_size=1), "lstm-proj"),
    ],
    ids=str,
)
def test_a_spec_is_of_one_variant(spec: LayerSpec, variant: str) -> None:
    assert variant_of(spec) == variant


def test_a_planted_layer_is_importable_by_its_location() -> None:
    for layer in PLANTED.values():
        location = implementation_from(layer, layer.kind).location
        assert location is not None
        assert pkgutil.resolve_name(location) is layer


@pytest.mark.parametrize(
    ("defect", "variant"), [pair for pair in PLANTED if pair[1] in OF_ANOTHER], ids=lambda part: part.replace(" ", "_")
)
def test_a_layer_of_another_variant_is_left_right(defect: str, variant: str) -> None:
    planted = PLANTED[defect, variant]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        right = PLAIN[planted.kind](3, 4, num_layers=2, dropout=0.5, bidirectional=True, **OF_ANOTHER[variant])
        layer = planted(3, 4, num_layers=2, dropout=0.5, bidirectional=True, **OF_ANOTHER[variant])
        layer.load_state_dict(right.state_dict())
        for expected, came in zip(_two_calls(right), _two_calls(layer), strict=True):
            assert torch.equal(expected, came)


def _two_calls(layer: PlainLayer) -> list[torch.Tensor]:
    """Return the outputs of a call in train and one in eval, without a state, and the gradients they add up to."""
    torch.manual_seed(1)
    x, outputs = torch.randn(2, 2, 3), []
    for training in (True, False):
        outputs.append(layer.train(training)(x)[0])
        outputs[-1].sum().backward()
    return [*outputs, *(p.grad for p in layer.parameters() if p.grad is not None)]
