"""The judge on a CUDA device: right layers pass, and faults that only CUDA has are seen. Run by `test_stand_in.py`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from rnn_parity import manual
from rnn_parity.bench import calibrate
from rnn_parity.judge import ParityError, assert_parity
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.core.guard import Streams
from rnn_parity.judge.core.settings import SETTINGS, settings
from rnn_parity.judge.core.verdict import Verdict
from rnn_parity.judge.programs.proof import outcome
from rnn_parity.judge.trials.schedule import Block
from rnn_parity.judge.trials.search import ask
from rnn_parity.judge.trials.table import TRIALS, trial_named
from rnn_parity.judge.trials.trial import Trial
from rnn_parity.reference.spec import LayerSpec

SPEC = LayerSpec("gru", 3, 4)
CASE = Case(SPEC, torch.float64, "cuda", 3, 2, seed=0, cotangents=("output", "h_n"))
DROPOUT = replace(CASE, spec=replace(SPEC, num_layers=2, dropout=0.5), dropout_seed=5)

REFUSED = "backward raised RuntimeError: cudnn RNN backward can only be called in training mode"


def asked(layer: Any, aspect: str, name: str, case: Case) -> Verdict:
    trial = trial_named(aspect, name)
    assert isinstance(trial, Trial)
    return ask(trial, implementation_from(layer, "gru"), case, Streams())


@pytest.mark.parametrize("name", ["two losses", "output changed"])
def test_the_ways_of_autograd_are_judged(name: str) -> None:
    verdict = asked(manual.GRU, "gradients", name, CASE)
    assert verdict.ok, verdict.broken or verdict.message()
    assert verdict.findings


# What cuDNN does not do


@pytest.mark.parametrize(
    ("aspect", "name", "case"),
    [
        ("gradients", "equations", replace(CASE, modes=("eval",))),
        ("gradients", "equations", replace(CASE, modes=("eval", "train"))),
        ("gradients", "equations", replace(CASE, modes=("train", "eval"))),
        ("repeatability", "second call", replace(CASE, modes=("eval",))),
        ("gradients", "two losses", replace(CASE, modes=("eval",))),
        ("dropout", "eval", replace(DROPOUT, modes=("eval",))),
        ("dropout", "eval after training", replace(DROPOUT, modes=("train", "eval"))),
    ],
)
def test_torch_nn_is_not_blamed_for_what_cudnn_refuses(aspect: str, name: str, case: Case) -> None:
    verdict = asked(nn.GRU, aspect, name, case)
    assert (verdict.ok, verdict.refused) == (True, REFUSED)


def test_a_layer_that_can_do_it_is_judged_beside_one_that_refuses() -> None:
    verdict = asked(manual.GRU, "gradients", "equations", replace(CASE, modes=("eval",)))
    assert verdict.ok
    assert "weight_hh_l0.grad" in [finding.tensor for finding in verdict.findings]
    assert (verdict.builtin_fault, verdict.builtin_refusal) == (None, REFUSED)
    verdict = asked(manual.GRU, "second_order", "equations", CASE)
    assert verdict.ok
    assert verdict.builtin_fault is None
    assert "_cudnn_rnn_backward" in (verdict.builtin_refusal or "")


def test_the_calibration_flags_no_right_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "blocks", lambda *_: [[Block(None, 6, 0)]])
    index = [(trial.aspect, trial.name) for trial in TRIALS].index(("repeatability", "second call"))
    found = calibrate.measure("gru", torch.float64, "cuda", index, 0)
    assert found.flagged == []
    assert (found.cases, found.verdicts) == (6, 30)


# What CUDA has beside


def spoiled(spoil: Callable[[], Any]) -> type[nn.Module]:
    """Return a layer that is right, and does something beside at each call."""

    class Spoiled(manual.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            spoil()
            return super().forward(input, hx)

    return Spoiled


def allow_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = True


def choose_kernels() -> None:
    torch.backends.cudnn.benchmark = True


SPOILING: dict[str, Callable[[], Any]] = {
    "CUDA random seeds": lambda: torch.cuda.manual_seed(0),
    "current CUDA stream": lambda: torch.cuda.set_stream(torch.cuda.Stream()),
    "use of TF32 in cuDNN": allow_tf32,
    "use of cuDNN's benchmark": choose_kernels,
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    torch.cuda.init()
    before, generator = settings(), torch.cuda.get_rng_state()
    yield
    assert settings() == before
    assert torch.equal(torch.cuda.get_rng_state(), generator)


@pytest.mark.parametrize("setting", SPOILING)
def test_a_setting_that_is_left_changed_is_a_fault_and_put_back(setting: str) -> None:
    assert setting in SETTINGS
    with pytest.raises(ParityError, match=f"forward changed PyTorch's {setting} from") as caught:
        assert_parity(spoiled(SPOILING[setting]), "gru", aspects="forward", examples=1, device="cuda")
    assert caught.value.plain


def test_to_draw_is_no_fault_and_what_was_drawn_is_put_back() -> None:
    verdict = asked(spoiled(lambda: torch.rand(1, device="cuda")), "forward", "equations", CASE)
    assert verdict.ok, verdict.message()


# Programs about dropout


class Half(manual.GRU):
    """Drops with half the probability."""

    def _layers(self, weights: Any) -> Any:
        layers = super()._layers(weights)
        if hasattr(layers, "dropout"):
            layers.dropout /= 2
        return layers


class Biased(manual.GRU):
    """Adds a little to every output."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return output + 1e-3, h_n


class Same(manual.GRU):
    """Drops the same elements at every call."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        state = torch.cuda.get_rng_state()
        result = super().forward(input, hx)
        torch.cuda.set_rng_state(state)
        return result


@pytest.mark.parametrize(
    ("layer", "name"),
    [(Half, "distribution"), (Half, "each boundary"), (Biased, "distribution"), (Same, "distribution")],
)
def test_faults_of_dropout_get_plain_programs(layer: Any, name: str) -> None:
    trial = trial_named("dropout", name)
    assert isinstance(trial, Trial)
    verdict = asked(layer, "dropout", name, trial.adapt(CASE))
    assert not verdict.ok
    came = [outcome(program, verdict.implementation) for program in trial.check.programs(verdict, 1)]
    assert None in came
    assert set(came) <= {None, ""}, "another exception than the assertion"
