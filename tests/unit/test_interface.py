"""What the interface aspect says of layers that are drop-ins, of layers that are not, and of adapters."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnn_parity.judge.core.candidate import Implementation, implementation_from
from rnn_parity.judge.core.results import FAILED, PASSED, UNSUPPORTED
from rnn_parity.judge.programs.proof import error_of
from rnn_parity.judge.trials.question import Question
from rnn_parity.judge.trials.search import asked
from rnn_parity.judge.trials.table import ASPECTS, QUESTIONS, trial_named, trials_of
from rnn_parity.judge.trials.trial import Outcome

PLACE = (torch.float64, "cpu")
# Conformance judges those of `manual`; here its types are checked, and checked before it looks itself.
DROP_INS = [(kind, f"torch.nn:{kind.upper()}") for kind in ("rnn", "gru", "lstm")]


def outcomes(implementation: Implementation, every: int = 1) -> dict[str, Outcome]:
    """Ask the questions that apply and are supported, or every so many of them."""
    return {
        question.name: asked(question, implementation, *PLACE, examples=1, seed=0)
        for question in QUESTIONS[::every]
        if question.applies_to(implementation, *PLACE) and not question.unsupported(implementation, *PLACE)
    }


def question_named(name: str) -> Question:
    question = trial_named("interface", name)
    assert isinstance(question, Question)
    return question


def said_of(layer: type[nn.Module], name: str) -> str:
    """Return the message of a question that fails, and hold it to its reproducer."""
    implementation = implementation_from(layer, "gru")
    outcome = question_named(name).asked(implementation, *PLACE)
    assert outcome.result == FAILED
    assert outcome.message is not None
    assert outcome.reproducer is not None
    assert outcome.message.startswith(f"{implementation.name} is not a drop-in for torch.nn.GRU: {name}: ")
    assert str(error_of(outcome.reproducer, implementation)).split()[-1] in outcome.message
    return outcome.message


@pytest.mark.parametrize(("kind", "location"), DROP_INS)
def test_a_drop_in_passes(kind: str, location: str) -> None:
    found = outcomes(implementation_from(location, kind))
    assert {name: o.message or o.reason for name, o in found.items() if o.result != PASSED} == {}


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_what_is_to_be_refused_is_refused_by_the_built_in(kind: str) -> None:
    builtin = implementation_from(f"torch.nn:{kind.upper()}", kind)
    accepted = [
        question.name
        for question in QUESTIONS
        if question.name.startswith("refuses") and question.applies_to(builtin, *PLACE)
        if error_of(f"{question.point.program(builtin, *PLACE)}\nassert expected is not None", builtin)
    ]
    assert accepted == []


def test_the_table_has_the_questions_beside_the_trials() -> None:
    assert trials_of("interface") == list(QUESTIONS)
    assert "interface" not in ASPECTS
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)
    assert all(trial_named("interface", question.name) is question for question in QUESTIONS)


class Reordered(nn.GRU):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        first = self.get_parameter("weight_ih_l0")
        del self.weight_ih_l0
        self.register_parameter("weight_ih_l0", first)


class StartsFromZero(nn.GRU):
    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class SaysLess(nn.GRU):
    def extra_repr(self) -> str:
        return ""


class ForgetsAnOption(nn.GRU):
    def __getattribute__(self, name: str) -> Any:
        return 0.0 if name == "dropout" else super().__getattribute__(name)


class TakesNamesOnly(nn.GRU):
    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__(input_size, hidden_size, **options)


class Silent(nn.GRU):
    def __init__(self, *args: Any, num_layers: int = 1, dropout: float = 0.0, **options: Any) -> None:
        super().__init__(*args, num_layers=num_layers, dropout=dropout if num_layers > 1 else 0.0, **options)


class TakesAnyBias(nn.GRU):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "bias": bool(options.get("bias", True))})


class ReturnsAList(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return list(super().forward(input, hx))


class AcceptsAnyRank(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input[0] if isinstance(input, Tensor) and input.dim() == 4 else input, hx)


class RaisesAnotherClass(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        try:
            return super().forward(input, hx)
        except RuntimeError as error:
            raise KeyError(str(error)) from error


class RaisesWithoutAWord(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        try:
            return super().forward(input, hx)
        except Exception as error:
            raise type(error) from error


class BreaksWhenItRefuses(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        if input.shape[-1] != self.input_size:
            nn.init.zeros_(self.get_parameter("weight_ih_l0"))
        return super().forward(input, hx)


@pytest.mark.parametrize(
    ("layer", "question", "said"),
    [
        (Reordered, "starts with the parameters of torch.nn, defaults", "expected ['weight_ih_l0', 'weight_hh_l0'"),
        (StartsFromZero, "starts with the parameters of torch.nn, defaults", "first values of weight_ih_l0"),
        (SaysLess, "prints as torch.nn does, defaults", "expected 3, 4, as of torch.nn, got"),
        (ForgetsAnOption, "keeps its options as attributes, dropout", "expected dropout = 0.5, got 0.0"),
        (TakesNamesOnly, "takes positional arguments in the order of torch.nn", "raised TypeError"),
        (Silent, "warns of dropout as torch.nn does, one layer", "expected ['UserWarning'], as of torch.nn, got []"),
        (TakesAnyBias, "refuses to be built, bias is no bool", "expected TypeError("),
        (ReturnsAList, "returns types and shapes of torch.nn, defaults, batched", "as of torch.nn, got list"),
        (AcceptsAnyRank, "refuses a call, 4-D input", "as of torch.nn, got None"),
        (RaisesAnotherClass, "refuses a call, features", "as of torch.nn, got KeyError("),
        (RaisesWithoutAWord, "refuses a call, features", "to say what is wrong, got no message"),
        (BreaksWhenItRefuses, "stays usable after a refused call", "the output from before the refused call"),
    ],
)
def test_what_is_no_drop_in_is_said_with_what_was_expected_and_what_came(
    layer: type[nn.GRU], question: str, said: str
) -> None:
    assert said in said_of(layer, question)


def test_a_layer_with_names_of_its_own_does_not_exchange_its_state_dict() -> None:
    class Renamed(nn.Module):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__()
            self.inner = nn.GRU(*args, **options)

    assert "raised RuntimeError" in said_of(Renamed, "exchanges its state_dict with torch.nn, defaults")


def test_what_is_declared_unsupported_is_not_asked() -> None:
    class Narrow(nn.LSTM):
        parity_unsupported = (
            *("num_layers", "bidirectional", "batch_first", "no_bias", "dropout"),
            *("packed", "unbatched", "initial_state", "proj_size"),
        )

        def __init__(self, input_size: int, hidden_size: int, *, device: Any = None, dtype: Any = None) -> None:
            super().__init__(input_size, hidden_size, device=device, dtype=dtype)

        def forward(self, input: Any, hx: Any = None) -> Any:
            if not isinstance(input, Tensor) or hx is not None:
                raise NotImplementedError
            return super().forward(input)

    narrow = implementation_from(Narrow, "lstm")
    assert {outcome.result for outcome in outcomes(narrow).values()} == {PASSED}
    of_packed = question_named("refuses a call, packed, state for more layers")
    assert of_packed.unsupported(narrow, *PLACE) == ["packed", "initial_state"]


class Adapter:
    """Around the built-in, which does what it is told to before each call."""

    def __init__(self, before: Any) -> None:
        self.before = before

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        before = self.before

        class Adapted(nn.Module):
            def forward(self, input: Any, hx: Any = None) -> Any:
                before()
                return builtin(input, hx)

        return Adapted()

    def gradients(self, layer: nn.Module) -> Mapping[str, Tensor | None]:
        return {}


def always_raises() -> None:
    raise LookupError("no kernel")


def test_an_adapter_is_asked_of_its_calls_and_not_of_a_constructor_it_does_not_have() -> None:
    right = outcomes(implementation_from(Adapter(lambda: None), "gru"), every=3)
    wrong = outcomes(implementation_from(Adapter(always_raises), "gru"), every=3)
    for name, outcome in right.items():
        of_call = question_named(name).point.of_call
        assert outcome.result == (PASSED if of_call else UNSUPPORTED), outcome.message
        assert wrong[name].result == (FAILED if of_call else UNSUPPORTED), name
        assert of_call or outcome.reason == "an adapter has no constructor of torch.nn's"
    assert {outcome.result for outcome in wrong.values()} == {FAILED, UNSUPPORTED}


def test_what_the_built_in_does_not_do_itself_is_held_against_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    question = question_named("returns types and shapes of torch.nn, defaults, batched")

    def refused(self: nn.GRU, input: Any, hx: Any = None) -> Any:
        raise NotImplementedError("not on this device")

    manual = implementation_from("rnn_parity.manual:GRU", "gru")
    monkeypatch.setattr(nn.GRU, "forward", refused)
    outcome = question.asked(manual, *PLACE)
    assert outcome.result == UNSUPPORTED
    assert outcome.reason == "torch.nn.GRU itself: raised NotImplementedError: not on this device"


def test_asking_leaves_pytorch_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    outcomes(implementation_from("torch.nn:RNN", "rnn"), every=20)
    assert torch.equal(torch.rand(3), expected)
