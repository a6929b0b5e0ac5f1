"""What no right layer does, whatever its numbers, is said in one line."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.reference import LayerSpec

CASE = Case(LayerSpec("gru", 3, 4), torch.float64, "cpu", 3, 2, seed=0, cotangents=("output", "h_n"))
PACKED = replace(CASE, lengths=(3, 2), enforce_sorted=True)


def misbehaviour(change: Callable[..., Any], case: Case = CASE) -> str | None:
    class Changed(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            return change(self, input, hx, super().forward)

    return judge(implementation_from(Changed, "gru"), case).misbehaviour


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
    (exits, CASE, "forward raised SystemExit: bye"),
    (reshaped_bias, CASE, r"backward raised|parameter bias_hh_l0 changed from"),
]


@pytest.mark.parametrize(("change", "case", "says"), WRONG, ids=lambda part: part[:30] if isinstance(part, str) else "")
def test_is_said(change: Callable[..., Any], case: Case, says: str) -> None:
    said = misbehaviour(change, case)
    assert said is not None
    assert re.search(says, said), said
    assert "\n" not in said


def test_a_gradient_for_a_frozen_parameter_is_said() -> None:
    class Thawing(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            results = super().forward(input, hx)
            self.bias_hh_l0.grad = torch.zeros_like(self.bias_hh_l0)
            return results

    case = replace(CASE, frozen=("bias_hh_l0",))
    said = judge(implementation_from(Thawing, "gru"), case).misbehaviour
    assert said == "bias_hh_l0 requires no gradient but was given one"


def test_a_built_in_at_fault_is_reported_and_the_candidate_judged_by_the_oracle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            output, h_n = super().forward(input, hx)
            return output + 1e-6, h_n

    class Right(nn.GRU):
        pass

    monkeypatch.setattr("rnn_parity.judge.core.verdict.loaded_builtin", _loaded(Broken))
    verdict = judge(implementation_from(Right, "gru"), CASE)
    assert verdict.ok
    assert verdict.builtin_fault is not None
    assert verdict.builtin_fault.startswith("output is off by 1e-06, ")


def _loaded(layer: type[nn.GRU]) -> Callable[[Case], nn.Module]:
    from rnn_parity.judge.core.case import weights_of

    def build(case: Case) -> nn.Module:
        module = layer(**case.spec.arguments(), dtype=case.dtype)
        module.load_state_dict(weights_of(case))
        return module

    return build


def test_tf32_is_off_while_a_verdict_is_formed_and_restored_after() -> None:
    seen = []

    class Looking(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            return super().forward(input, hx)

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    judge(implementation_from(Looking, "gru"), CASE)
    assert seen == [(False, False)]
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
