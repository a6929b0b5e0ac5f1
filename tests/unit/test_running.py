"""What no right layer does, whatever its numbers, is said in one line."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.trials.trial import Tally
from rnn_parity.judge.worker.parent import limit_for
from rnn_parity.reference import LayerSpec

CASE = Case(LayerSpec("gru", 3, 4), torch.float64, "cpu", 3, 2, seed=0, cotangents=("output", "h_n"))
PACKED = replace(CASE, lengths=(3, 2), enforce_sorted=True)


def misbehaviour(change: Callable[..., Any], case: Case = CASE) -> str | None:
    class Changed(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            return change(self, input, hx, super().forward)

    return said(judge(implementation_from(Changed, "gru"), case).misbehaviour)


def said(seen: Exception | None) -> str | None:
    return None if seen is None else str(seen)


def in_place(tensor: Tensor) -> None:
    tensor.data.add_(1)  # behind autograd's back


def changed_after(self: nn.GRU, input: Tensor, hx: Tensor, forward: Any) -> Any:
    results = forward(input, hx)
    in_place(hx)
    return results


def changed_weight(self: nn.GRU, input: Tensor, hx: Tensor, forward: Any) -> Any:
    results = forward(input.clone(), hx.clone())
    in_place(self.bias_hh_l0)
    return results


def reshaped_bias(self: nn.GRU, input: Tensor, hx: Tensor, forward: Any) -> Any:
    results = forward(input, hx)
    self.bias_hh_l0.data = self.bias_hh_l0.data.unsqueeze(0)
    return results


def packed_changed(self: nn.GRU, input: PackedSequence, hx: Tensor, forward: Any) -> Any:
    results = forward(PackedSequence(input.data.clone(), *input[1:]), hx)
    in_place(input.data)
    return results


def grad_left_off(self: nn.GRU, input: Tensor, hx: Tensor, forward: Any) -> Any:
    results = forward(input, hx)
    torch.set_grad_enabled(False)
    return results


def exits(self: nn.GRU, input: Tensor, hx: Tensor, forward: Any) -> Any:
    sys.exit("bye")


def shared(self: nn.GRU, input: Tensor, hx: Tensor, forward: Any) -> Any:
    output, _ = forward(input, hx)
    return output, output[-1:]


WRONG: list[tuple[Any, Case, str]] = [
    (lambda s, x, h, f: f(x, h)[0], CASE, r"expected \(output, h_n\), got Tensor\(3, 2, 4\)"),
    (lambda s, x, h, f: list(f(x, h)), CASE, r"expected \(output, h_n\), got list"),
    (lambda s, x, h, f: (f(x, h)[0], (f(x, h)[1],)), CASE, r"expected \(output, h_n\), got tuple"),
    (lambda s, x, h, f: (f(x, h)[0].transpose(0, 1), f(x, h)[1]), CASE, r"output of shape.*\(3, 2, 4\).*\(2, 3, 4\)"),
    (lambda s, x, h, f: (f(x, h)[0], f(x, h)[1][0]), CASE, r"h_n of shape.*\(1, 2, 4\).*\(2, 4\)"),
    (lambda s, x, h, f: tuple(r.float() for r in f(x, h)), CASE, r"output of shape.*float64.*float32"),
    (lambda s, x, h, f: (f(x, h)[0].data, f(x, h)[1]), PACKED, "output to be a PackedSequence, got Tensor"),
    (
        lambda s, x, h, f: (PackedSequence(f(x, h)[0].data, torch.tensor([2, 1, 2])), f(x, h)[1]),
        PACKED,
        "output.batch_sizes to be the input's",
    ),
    (changed_after, CASE, "argument h_0 was changed in place"),
    (changed_weight, CASE, "parameter bias_hh_l0 was changed in place"),
    (packed_changed, PACKED, r"argument input\.data was changed in place"),
    (grad_left_off, CASE, "forward changed PyTorch's gradient mode from True to False"),
    (shared, CASE, "h_n changed when output was changed in place: they share memory"),
    (exits, CASE, "forward raised SystemExit: bye"),
    (reshaped_bias, CASE, r"backward raised|parameter bias_hh_l0 changed from"),
]


@pytest.mark.parametrize(("change", "case", "says"), WRONG, ids=lambda part: part[:30] if isinstance(part, str) else "")
def test_is_said(change: Callable[..., Any], case: Case, says: str) -> None:
    text = misbehaviour(change, case)
    assert text is not None
    assert re.search(says, text), text
    assert "\n" not in text


def test_a_gradient_for_a_frozen_parameter_is_said() -> None:
    class Thawing(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            results = super().forward(input, hx)
            self.bias_hh_l0.grad = torch.zeros_like(self.bias_hh_l0)
            return results

    case = replace(CASE, frozen=("bias_hh_l0",))
    assert (
        said(judge(implementation_from(Thawing, "gru"), case).misbehaviour)
        == "bias_hh_l0 requires no gradient but was given one"
    )


def test_a_built_in_at_fault_is_reported_and_the_candidate_judged_by_the_oracle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            output, h_n = super().forward(input, hx)
            return output + 1e-6, h_n

    class Right(nn.GRU):
        pass

    monkeypatch.setattr("rnn_parity.judge.checks.equations.loaded_builtin", _loaded(Broken))
    verdict = judge(implementation_from(Right, "gru"), CASE)
    assert verdict.ok
    assert verdict.builtin_fault is not None
    assert verdict.builtin_fault.startswith("output is off by 1e-06, ")


def test_what_the_built_in_refuses_is_no_fault_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            raise RuntimeError("no kernel")

    class Right(nn.GRU):
        pass

    monkeypatch.setattr("rnn_parity.judge.checks.equations.loaded_builtin", _loaded(Refusing))
    verdict, tally = judge(implementation_from(Right, "gru"), CASE), Tally()
    assert verdict.ok
    assert verdict.findings
    assert (verdict.builtin_fault, verdict.builtin_refusal) == (None, "forward raised RuntimeError: no kernel")
    tally.add(verdict)
    tally.add(verdict)
    record = tally.as_record()
    assert (record["builtin_faults"], record["builtin_refusals"]) == (0, {verdict.builtin_refusal: 2})


def _loaded(layer: type[nn.GRU]) -> Callable[[Case], nn.Module]:
    from rnn_parity.judge.core.case import weights_of

    def build(case: Case) -> nn.Module:
        module = layer(**case.spec.arguments(), dtype=case.dtype)
        module.load_state_dict(weights_of(case))
        return module

    return build


class Precise(nn.GRU):
    """Right, where products are computed in the dtype of their factors."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"
        return super().forward(input, hx)


@pytest.mark.parametrize("precision", ["none", "ieee", "bf16", "tf32"])
@pytest.mark.parametrize("part", ["mkldnn.matmul", "mkldnn.rnn", "cuda.matmul", "cudnn.rnn", "cudnn.conv", "cudnn", ""])
def test_products_are_exact_while_a_verdict_is_formed_whatever_was_set(part: str, precision: str) -> None:
    owner = attrgetter(part)(torch.backends) if part else torch.backends
    before = owner.fp32_precision
    try:
        owner.fp32_precision = precision
    except RuntimeError:
        pytest.skip(f"this PyTorch has no {precision} for {part}")
    try:
        assert judge(implementation_from(Precise, "gru"), replace(CASE, dtype=torch.float32)).ok
        assert owner.fp32_precision in (precision, before)  # "none" is what is above it
    finally:
        owner.fp32_precision = "none"
        if owner.fp32_precision != before:
            owner.fp32_precision = before


@pytest.mark.parametrize(("steps", "limit"), [(3, 60.0), (256, 60.0), (1024, 240.0)])
def test_a_long_case_may_take_longer(steps: int, limit: float) -> None:
    assert limit_for(replace(CASE, seq_len=steps), 60.0) == limit
    assert limit_for(None, 60.0) == 60.0
