"""Programs that show what no right layer does, whatever its numbers: what `Misbehaviour` says in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..core.candidate import Implementation
from ..core.case import Case
from ..core.misbehaviour import Misbehaviour
from .forms import backward, function, inside, prepared, result
from .snippets import COLUMNS, Lines, Snippets

RAISED = re.compile(r"(?:building it|second backward|\S+) raised (\w+): ?(.*)")
SETTING_CODE = {
    "inference mode": "torch.is_inference_mode_enabled()",
    "gradient mode": "torch.is_grad_enabled()",
    "default dtype": "torch.get_default_dtype()",
    "default device": "torch.get_default_device()",
    "number of threads": "torch.get_num_threads()",
    "random seed": "torch.initial_seed()",
    "deterministic mode": "torch.get_deterministic_debug_mode()",
    "float32 matmul precision": "torch.get_float32_matmul_precision()",
    "anomaly mode": "torch.is_anomaly_enabled()",
    "autocast": "(torch.is_autocast_enabled('cpu'), torch.is_autocast_enabled('cuda'))",
    "use of cuDNN": "torch.backends.cudnn.enabled",
}

# What the function does before the call, in place of taking the results apart, and after it.
Check = tuple[Lines, Lines, Lines]


def beginning(seen: Misbehaviour) -> str:
    """Return how the message of the program's assertion begins, up to what came."""
    return "AssertionError: " + re.split(r", got| changed from|(?<=PyTorch's) from|, found", str(seen))[0]


def misbehaving(case: Case, implementation: Implementation, seen: Misbehaviour) -> list[str]:
    """Return programs that make the call in which a misbehaviour was seen, the simplest first.

    Args:
        case: in which it was seen.
        implementation: the candidate.
        seen: what was seen.
    """
    text = str(seen)
    once = replace(case, modes=case.modes[-1:])
    simpler = (replace(once, cotangents=(), frozen=()), once, case)
    return list(dict.fromkeys(_called(each, implementation, text) for each in simpler))


def _called(case: Case, implementation: Implementation, text: str) -> str:
    snippets = inside(case, implementation)
    if text.startswith("building it"):
        *built, last = snippets.layers()
        return snippets.program([*built, _commented(last, text)])
    before, taken, after = _check(snippets, text)
    body = [*snippets.frozen("layer"), *snippets.arguments(), *before]
    body += [f"torch.manual_seed({case.dropout_seed})"] if case.dropout_seed is not None else []
    body += taken or [f"{snippets.targets} = {snippets.called('layer')}"]
    body += backward(snippets) if case.cotangents and not taken else []
    call = result(snippets)
    last = call if taken or after else _commented(call, text)
    return snippets.program(function(snippets, [*body, *after]), prepared(snippets), [last])


def _commented(line: str, text: str) -> str:
    return f"{line}  # {text}"[:COLUMNS]


def _check(snippets: Snippets, text: str) -> Check:
    for pattern, write in CHECKS.items():
        found = re.match(pattern, text)
        if found:
            return write(snippets, *found.groups())
    return [], [], []


def _form(snippets: Snippets, form: str) -> Check:
    state = "isinstance(returned[1], torch.Tensor)"
    if snippets.case.spec.kind == "lstm":
        state = f"not {state} and len(returned[1]) == 2"
    says = f"expected {form}, got {{type(returned).__name__}}"
    return (
        [],
        [
            f"returned = {snippets.called('layer')}",
            f"right = isinstance(returned, tuple) and len(returned) == 2 and {state}",
            f'assert right, f"{says}"',
        ],
        [],
    )


def _of_result(snippets: Snippets, came: str, expected: str, says: str) -> Check:
    call = f"{snippets.targets} = {snippets.called('layer')}"
    return [], [call, f"came, expected = {came}, {expected}", f'assert came == expected, f"{says}"'], []


def _place(snippets: Snippets, name: str, expected: str) -> Check:
    came = f"(tuple({name}.shape), {name}.dtype, {name}.device.type)"
    return _of_result(
        snippets, came, expected, f"expected {name} of shape, dtype and device {{expected}}, got {{came}}"
    )


def _type(snippets: Snippets, name: str, expected: str) -> Check:
    kind = "torch.Tensor" if expected == "Tensor" else "torch.nn.utils.rnn.PackedSequence"
    says = f"expected {name} to be a {expected}, got {{type({name}).__name__}}"
    call = f"{snippets.targets} = {snippets.called('layer')}"
    return [], [call, f"right = isinstance({name}, {kind})", f'assert right, f"{says}"'], []


def _field(snippets: Snippets, field: str, expected: str) -> Check:
    batch = snippets.case.batch
    came = f"output.{field}.tolist() if output.{field} is not None else list(range({batch}))"
    return _of_result(
        snippets, f"({came})", expected, f"expected output.{field} to be the input's {{expected}}, got {{came}}"
    )


def _argument(snippets: Snippets, name: str, how: str) -> Check:
    variable, lines, taken = name, [], []
    if name.startswith("input."):
        lines, variable = ["sequence = pack(x)"], name.replace("input", "sequence")
        call = re.sub(r"\(.*?pack\(x\)", "(sequence", snippets.called("layer"))
        taken = [f"{snippets.targets} = {call}"]
    elif name == "input":
        variable = "x"
    before, after = _unchanged(f"argument {name}", variable, how, "shape", "stride()", "dtype")
    return [*lines, *before], [*taken, *after] if taken else [], [] if taken else after


def _parameter(snippets: Snippets, name: str, how: str) -> Check:
    variable = f"layer.get_parameter({name!r})"
    before, after = _unchanged(f"parameter {name}", variable, how, "shape", "stride()", "dtype", "requires_grad")
    return before, [], after


def _unchanged(what: str, variable: str, how: str, *fields: str) -> tuple[Lines, Lines]:
    if how == "was changed in place":
        after = f'assert torch.equal({variable}, before), "{what} {how}"'
        return [f"before = {variable}.detach().clone()"], [after]
    form = f"[t.{', t.'.join(fields)}]"
    now = f"now = (lambda t: {form})({variable})"
    says = f"{what} changed from {{before}} to {{now}}: {', '.join(fields)}"
    return [now.replace("now", "before", 1)], [now, f'assert now == before, f"{says}"']


def _parameter_names(snippets: Snippets) -> Check:
    names = "[name for name, _ in layer.named_parameters()]"
    says = "expected parameters {', '.join(before)}, found {', '.join(now)} after the call"
    return [f"before = {names}"], [], [f"now = {names}", f'assert now == before, f"{says}"']


def _setting(snippets: Snippets, stage: str, setting: str) -> Check:
    code = SETTING_CODE[setting]
    before, _, after = _stage(snippets, stage)
    says = f"{stage} changed PyTorch's {setting} from {{before}} to {{now}}"
    check = [f"now = {code}", f'assert now == before, f"{says}"']
    if stage == "train()":
        return [f"before = {code}", *before, *check], [], check
    return [f"before = {code}"], [], [*after, *check]


def _stage(snippets: Snippets, stage: str) -> Check:
    before = ["layer.train()"] if stage == "train()" else []
    return before, [], [f"{snippets.name}.gradients(layer)"] if stage == "gradients" else []


def _frozen(snippets: Snippets, name: str) -> Check:
    says = f'"{name} requires no gradient but was given one"'
    return [], [], [f"assert layer.get_parameter({name!r}).grad is None, {says}"]


def _gradient(snippets: Snippets, name: str) -> Check:
    gradient = f"{snippets.name}.gradients(layer)[{name!r}]"
    return [], [], [f'assert isinstance({gradient}, torch.Tensor), "expected the gradient of {name} to be a Tensor"']


CHECKS: dict[str, Callable[..., Check]] = {
    r"expected (\(output, .*?\)), got": _form,
    r"expected (\S+) of shape, dtype and device (.*), got": _place,
    r"expected the gradient of (\S+) to be a Tensor": _gradient,
    r"expected (\S+) to be a (\w+), got": _type,
    r"expected output\.(\w+) to be the input's (.*), got": _field,
    r"argument (\S+) (was changed in place|changed from)": _argument,
    r"parameter (\S+) (was changed in place|changed from)": _parameter,
    r"expected parameters .* after the call": _parameter_names,
    rf"(\S+) changed PyTorch's ({'|'.join(SETTING_CODE)}) from": _setting,
    r"(?:second )?(\S+) raised": _stage,
    r"(\S+) requires no gradient but was given one": _frozen,
}
