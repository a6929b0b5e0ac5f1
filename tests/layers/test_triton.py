"""The Triton engine without a GPU: its results in Triton's interpreter, and what its kernels need when compiled."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnn_parity.manual import fused
from rnn_parity.manual.fused import layers
from rnn_parity.manual.fused.triton import Triton, engine, plans

triton = pytest.importorskip("triton", reason="Triton, whose kernels this engine has, is not installed")

SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes that one program may have, by compute capability
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int64: "*i64"}
OPTIONS = ("num_warps", "num_stages", "maxnreg")
PRECISIONS = [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.float16, False)]


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_in_the_interpreter(chosen: str) -> None:
    module = "rnn_parity.tests.layers.in_interpreter"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            "--tb=short",
            "-m",
            chosen,
            "--pyargs",
            module,
        ],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d{2} passed", done.stdout)


def layer(cell: str, H: int, dtype: torch.dtype) -> nn.Module:
    kind, options = ("RNN", {"nonlinearity": cell}) if cell in ("tanh", "relu") else (cell, {})
    made: nn.Module = getattr(fused, kind)(3, H, bidirectional=True, dtype=dtype, **options)
    return made


@pytest.fixture
def launched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: int
) -> Iterator[list[tuple[Any, dict[str, Any]]]]:
    """Kernels and their arguments, which are noted instead of being run."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET=1: kernels are interpreted, not compiled")
    from rnn_parity.manual.fused.triton import launch

    found: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(
        launch.Walk, "launch", lambda walk, kernel, **given: found.append((kernel, given | walk.arguments))
    )
    monkeypatch.setattr(launch, "shared_memory", lambda device: SHARED[capability])
    monkeypatch.setattr(Triton, "takes", lambda self, call: True)
    for kind in ("RNN", "GRU", "LSTM"):
        monkeypatch.setattr(getattr(layers, kind), "engines", (Triton(),))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    before = torch.backends.cuda.matmul.fp32_precision
    yield found
    torch.backends.cuda.matmul.fp32_precision = before


def compiled(kernel: Any, arguments: dict[str, Any], capability: int) -> Any:
    """Compile a kernel as a launch with these arguments has it compiled; memory begins where PyTorch has it begin."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, constants, attributes = {}, {}, {}
    for position, name in enumerate(kernel.arg_names):
        value = arguments[name]
        signature[name] = "constexpr"
        if isinstance(value, Tensor):
            signature[name] = POINTERS[value.dtype]
            attributes[position,] = [["tt.divisibility", 16]]
        elif name in ("T", "B", "rows", "H"):
            signature[name] = "i32"
        else:
            constants[position,] = value
    source = ASTSource(kernel, signature, constants, attributes)
    options = {name: arguments[name] for name in OPTIONS}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def assert_nothing_spilled(ptx: str, folder: Path) -> None:
    """Assemble a kernel once more, to have ptxas say what it spills."""
    (folder / "kernel.ptx").write_text(ptx)
    target = re.search(r"\.target (\w+)", ptx)
    assert target is not None
    command = [triton.knobs.nvidia.ptxas.path, "-v", "--gpu-name", target[1], "kernel.ptx", "-o", "kernel"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr
    nothing = ", 0 bytes spill stores, 0 bytes spill loads" in said
    if not nothing and not triton.__version__.startswith(CHOSEN_WITH):
        pytest.skip(f"Triton {triton.__version__} spills; the registers are chosen for {CHOSEN_WITH}")
    assert nothing, said


def taken(cell: str, H: int, dtype: torch.dtype, tf32: bool, capability: int) -> bool:
    return plans.plan(cell, H, dtype, tf32, SHARED[capability]) is not None


CHOSEN_WITH = "3.8."  # the version of Triton for which `plans` chooses registers and warps
CELLS = ("tanh", "relu", "GRU", "LSTM")
SIZES = [(16, True), (32, True), (64, False), (64, True), (128, True), (256, True)]
VARIANTS = [
    (cell, H, dtype, tf32, capability, packed)
    for capability in SHARED
    for H, packed in SIZES
    for cell in CELLS
    for dtype, tf32 in PRECISIONS
    if taken(cell, H, dtype, tf32, capability)
]


def is_quick(cell: str, H: int, dtype: torch.dtype, tf32: bool, capability: int, packed: bool) -> bool:
    """Whether a variant is among those compiled by default: some of the largest."""
    largest = cell == "LSTM" or (cell in ("GRU", "tanh") and dtype == torch.bfloat16)
    sizes = ((128, 80),) if tf32 else ((128, 80), (256, 90))
    return packed and largest and dtype != torch.float16 and (H, capability) in sizes


def named(cell: str, H: int, dtype: torch.dtype, tf32: bool, capability: int, packed: bool) -> str:
    precision = "TF32" if tf32 else str(dtype).removeprefix("torch.")
    return f"{cell}-{H}-{precision}-sm_{capability}-{'packed' if packed else 'padded'}"


# Without gradients some kernels of streamed weights in full float32 spill a few registers past 128 units.
@pytest.mark.parametrize(
    ("cell", "H", "dtype", "tf32", "capability", "packed", "training"),
    [
        *(pytest.param(*v, True, id=named(*v), marks=() if is_quick(*v) else pytest.mark.slow) for v in VARIANTS),
        *(pytest.param(*v, False, id=named(*v) + "-forward", marks=pytest.mark.slow) for v in VARIANTS if v[1] <= 128),
    ],
)
def test_compiles_without_spills_to_what_one_program_may_have(
    cell: str,
    H: int,
    dtype: torch.dtype,
    tf32: bool,
    capability: int,
    packed: bool,
    training: bool,
    launched: list[tuple[Any, dict[str, Any]]],
    tmp_path: Path,
) -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32" if tf32 else "ieee"
    x: Any = torch.zeros(3, 2, 3, dtype=dtype)
    with torch.set_grad_enabled(training):
        output, _ = layer(cell, H, dtype)(pack_padded_sequence(x, [3, 2]) if packed else x)
    if training:
        (output.data if packed else output).sum().backward()
    assert len(launched) == 1 + training
    chosen = plans.plan(cell, H, dtype, tf32, SHARED[capability])
    assert chosen is not None
    for kernel, arguments in launched:
        found = compiled(kernel, arguments, capability)
        assert found.metadata.shared <= chosen.shared
        assert_nothing_spilled(found.asm["ptx"], tmp_path)


class TestWhatItTakes:
    """On a card that is made up."""

    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "is_installed", lambda: True)
        monkeypatch.setattr(engine, "tf32_allowed", lambda: False)

    @staticmethod
    def takes(
        monkeypatch: pytest.MonkeyPatch, cell: str, H: int, dtype: torch.dtype, capability: int = 90, **more: Any
    ) -> bool:
        card = SimpleNamespace(major=capability // 10, shared_memory_per_block_optin=SHARED.get(capability, 64 * 1024))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
        data: Any = SimpleNamespace(
            device=torch.device(more.get("device", "cuda")), dtype=dtype, numel=lambda: more.get("numbers", 1)
        )
        states = [torch.empty(1, 1, H, device="meta")]
        weights = [dict.fromkeys(more.get("names", ()), data)]
        return Triton().takes(SimpleNamespace(cell=cell, weights=weights, data=data, states=states))  # type: ignore[arg-type]

    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize(("dtype", "tf32"), PRECISIONS)
    def test_each_precision_to_256_units(
        self, monkeypatch: pytest.MonkeyPatch, cell: str, dtype: torch.dtype, tf32: bool
    ) -> None:
        monkeypatch.setattr(engine, "tf32_allowed", lambda: tf32)
        assert all(self.takes(monkeypatch, cell, H, dtype, capability) for H in range(1, 257) for capability in SHARED)

    @pytest.mark.parametrize(
        "more",
        [
            {"H": 257},
            {"dtype": torch.float64},
            {"capability": 75},
            {"device": "cpu"},
            {"numbers": 0},
            {"names": ("weight_hr",)},
        ],
        ids=str,
    )
    def test_what_it_leaves_to_others(self, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
        assert self.takes(monkeypatch, "LSTM", 16, torch.float32)
        assert not self.takes(monkeypatch, **({"cell": "LSTM", "H": 16, "dtype": torch.float32} | more))

    def test_nothing_where_triton_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "is_installed", lambda: False)
        assert not self.takes(monkeypatch, "LSTM", 16, torch.float32)
