"""Which layers, devices and dtypes a run judges."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rnn_parity.judge import Implementation
from rnn_parity.judge.plugin import subjects
from rnn_parity.judge.plugin.subjects import INTERFACE, Subject, asked_of, selected
from rnn_parity.judge.worker.messages import Declared

QUESTION = SimpleNamespace(aspect=INTERFACE, name="names", applies_to=lambda *of: True)


def found(*registered: Implementation, loadable: bool = True, **given: Any) -> list[Subject]:
    option = {"implementation": [], "device": ["cpu"], "dtype": [], "examples": 2, "seed": 0, "interface": False}
    config: Any = SimpleNamespace(
        option=SimpleNamespace(**{f"parity_{name}": value for name, value in (option | given).items()}),
        hook=SimpleNamespace(pytest_parity_implementations=lambda config: [list(registered)]),
    )
    workers: Any = SimpleNamespace(probe=lambda name, probe: Declared(name, loadable=loadable))
    return selected(config, workers, {})


@pytest.fixture(autouse=True)
def _one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "trials_of", lambda aspect: [QUESTION])


GRU = Implementation("gru", nn.GRU, "mine")
HALF = Implementation("gru", nn.GRU, "half", unsupported=frozenset({"float64", "float32"}))


@pytest.mark.parametrize(
    ("registered", "options", "asked"),
    [
        ((), {}, ["rnn_parity.manual:RNN-rnn-cpu-float64", "rnn_parity.manual:GRU-gru-cpu-float64",
                  "rnn_parity.manual:LSTM-lstm-cpu-float64"]),
        ((GRU,), {}, []),
        ((GRU,), {"interface": True}, ["mine-gru-cpu-float64"]),
        ((GRU, HALF), {"interface": True}, ["mine-gru-cpu-float64", "half-gru-cpu-bfloat16"]),
    ],
    ids=["the manual layers", "registered", "registered, with the flag", "in the first dtype there is"],
)  # fmt: skip
def test_whose_interface_is_judged(
    registered: tuple[Implementation, ...], options: dict[str, Any], asked: list[str]
) -> None:
    judged = found(*registered, **options)
    assert len(judged) == 4 * (len(registered) or 3)
    assert [str(subject) for subject, _ in asked_of(judged, INTERFACE)] == asked
    assert len(asked_of(judged, "forward")) == len(judged)


def test_only_what_cannot_be_loaded_elsewhere_is_built_here() -> None:
    built = []

    def factory(*arguments: Any, **options: Any) -> nn.Module:
        built.append(options["dtype"])
        return nn.GRU(*arguments, **options)

    local = Implementation("gru", factory, "local")
    for implementation, loadable in ((GRU, True), (GRU, False), (local, True)):
        subject, *_ = found(implementation, loadable=loadable)
        assert (subject.target is not None) == (implementation is GRU and loadable)
    assert built == [torch.float64]


def test_where_there_are_no_other_processes_layers_are_judged_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "AVAILABLE", False)
    for given in ({"implementation": ["gru=torch.nn:GRU"]}, {}):
        for subject in found(**given):
            assert subject.target is None
            assert subject.fault is None
    (subject, *_) = found(implementation=["gru=torch.nn:GRU", "gru=torch.nn:LSTM"])
    assert subject.implementation.factory is nn.GRU
    assert found(implementation=["gru=torch.nn:GRU", "gru=torch.nn:LSTM"])[-1].fault is not None
