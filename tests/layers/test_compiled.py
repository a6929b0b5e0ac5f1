"""The engine that numba compiles: its functions, its tiles, its threads, and how its code is kept."""

import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.data import DataLoader, Dataset

from rnn_parity import manual
from rnn_parity.manual import fused
from rnn_parity.manual.fused import layers
from rnn_parity.manual.fused.compiled import Compiled

numba = pytest.importorskip("numba", reason="numba, which compiles this engine, is not installed")

from rnn_parity.manual.fused.compiled import launch, threads  # noqa: E402
from rnn_parity.manual.fused.compiled.functions import relu, sigmoid, tanh  # noqa: E402
from rnn_parity.manual.fused.compiled.memory import CHECKED, Array, load, store  # noqa: E402
from rnn_parity.manual.fused.compiled.vectors import lanes  # noqa: E402

KINDS = ["RNN", "GRU", "LSTM"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave calls to this engine alone, so that none goes another way unseen."""
    for kind in KINDS:
        monkeypatch.setattr(getattr(layers, kind), "engines", (Compiled(),))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def results(module: nn.Module, x: Any, hx: Any = None, generator_seed: int = 1) -> list[Tensor]:
    """Output, final state, and the gradient of every parameter of a random loss."""
    output, state = module(x, hx)
    data = output.data if isinstance(output, PackedSequence) else output
    found = [data, *(state if isinstance(state, tuple) else [state])]
    generator = torch.Generator().manual_seed(generator_seed)
    loss = sum((t * torch.randn(t.shape, generator=generator).to(t.dtype)).sum() for t in found)
    wanted = [p for p in module.parameters() if p.requires_grad]
    return [t.detach() for t in found] + list(torch.autograd.grad(loss, wanted))


def pair(kind: str, I: int, H: int, dtype: torch.dtype, **options: Any) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    layer = getattr(fused, kind)(I, H, **options).to(dtype)
    exact = getattr(nn, kind)(I, H, **options).double()
    exact.load_state_dict(layer.state_dict())
    return layer, exact


def assert_half_the_digits(ours: list[Tensor], exact: list[Tensor]) -> None:
    """Half of the dtype's digits are the same: a row or a lane that is taken wrongly shows in the first ones."""
    for one, other in zip(ours, exact, strict=True):
        error = (one.double() - other).abs().max()
        assert error <= torch.finfo(one.dtype).eps ** 0.5 * other.abs().max().clamp(min=1e-3)


class TestFunctions:
    """Sigmoid and tanh against those of a wider type, over every exponent."""

    @staticmethod
    def apply(function: Any, x: Any) -> Any:
        @numba.njit
        def all_of(x, y):  # type: ignore[no-untyped-def]
            given, found = Array(x.ctypes.data, x[0], x.shape), Array(y.ctypes.data, x[0], y.shape)
            for i in range(0, x.size, lanes(x)):
                store(found, (i,), function(load(given, (i,))))

        y = np.empty_like(x)
        all_of(x, y)
        return y

    @staticmethod
    def floats(dtype: Any) -> Any:
        """Numbers of every sign and exponent, infinity, NaN and zero among them."""
        mantissas = np.random.default_rng(0).integers(0, 2**23, 64, dtype=np.uint64)
        mantissas[:2] = 0, 2**23 - 1
        if dtype == np.float32:
            tops, bits, width = np.arange(2**9, dtype=np.uint64), 23, np.uint32
        else:
            tops, bits, width = np.arange(2**12, dtype=np.uint64), 52, np.uint64
        numbers = (tops[:, None] << np.uint64(bits)) | (mantissas[None] << np.uint64(bits - 23))
        return numbers.astype(width).view(dtype).reshape(-1)

    @pytest.mark.parametrize(("dtype", "units"), [(np.float32, 2), (np.float64, 3)])
    @pytest.mark.parametrize("function", [sigmoid, tanh], ids=["sigmoid", "tanh"])
    def test_within_units_of_the_last_place(self, function: Any, dtype: Any, units: float) -> None:
        x = self.floats(dtype)
        if dtype == np.float32:  # where both are neither 0 nor 1, more closely
            dense = np.random.default_rng(1).uniform(-20, 20, 1 << 18).astype(dtype)
            x = np.concatenate([x, dense, dense / 32, dense * 5])
        with np.errstate(all="ignore"):
            wide = x.astype(np.longdouble)
            small = np.exp(-np.abs(wide))
            expected = np.tanh(wide) if function is tanh else np.where(wide < 0, small, 1) / (1 + small)
            found = self.apply(function, x).astype(np.longdouble)
            unit = np.spacing(np.abs(expected.astype(dtype))).astype(np.longdouble)
            error = np.abs(found - expected) / unit
        assert (np.isnan(found) == np.isnan(expected)).all()
        assert np.nanmax(error) <= units
        assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()

    def test_relu_keeps_nan_and_infinity(self) -> None:
        x = self.floats(np.float32)
        np.testing.assert_array_equal(self.apply(relu, x), torch.relu(torch.from_numpy(x)).numpy())


EDGES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129]
LARGE = [255, 256, 257, 511, 512, 513]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
class TestEveryEdge:
    """Sizes about each tile, vector and number of rows at once."""

    @pytest.mark.parametrize("H", EDGES + LARGE)
    def test_of_hidden_units(self, kind: str, dtype: torch.dtype, H: int) -> None:
        layer, exact = pair(kind, 3, H, dtype)
        x = torch.randn(3, 2, 3, dtype=dtype)
        assert_half_the_digits(results(layer, x), results(exact, x.double()))

    @pytest.mark.parametrize("B", EDGES)
    def test_of_the_batch(self, kind: str, dtype: torch.dtype, B: int, two_threads: None) -> None:
        layer, exact = pair(kind, 3, 5, dtype, bidirectional=True)
        x = torch.randn(3, B, 3, dtype=dtype)
        lengths = torch.randint(1, 4, (B,))
        lengths[0] = 3
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        assert_half_the_digits(results(layer, x), results(exact, x.double()))
        assert_half_the_digits(results(layer, packed), results(exact, packed.to(torch.float64)))

    @pytest.mark.parametrize("I", EDGES + LARGE[:3])
    def test_of_input_features(self, kind: str, dtype: torch.dtype, I: int) -> None:
        layer, exact = pair(kind, I, 5, dtype)
        x = torch.randn(2, 3, I, dtype=dtype, requires_grad=True)
        x_exact = x.detach().double().requires_grad_()
        found = [torch.autograd.grad(m(v)[0].square().sum(), v) for m, v in ((layer, x), (exact, x_exact))]
        assert_half_the_digits(*map(list, found))

    @pytest.mark.parametrize("T", [191, 192, 193, 383, 385])
    def test_of_rows_summed_at_once(self, kind: str, dtype: torch.dtype, T: int) -> None:
        layer, exact = pair(kind, 2, 3, dtype)
        x = torch.randn(T, 1, 2, dtype=dtype)
        assert_half_the_digits(results(layer, x), results(exact, x.double()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("H", "P"), [(2, 1), (17, 16), (33, 15), (49, 17), (130, 65)])
@pytest.mark.parametrize("packed", [False, True])
def test_every_edge_of_a_projection(dtype: torch.dtype, H: int, P: int, packed: bool) -> None:
    layer, exact = pair("LSTM", 3, H, dtype, proj_size=P, bidirectional=True)
    x: Any = torch.randn(4, 7, 3, dtype=dtype)
    if packed:
        x = pack_padded_sequence(x, [4, 4, 3, 3, 2, 1, 1])
    assert_half_the_digits(results(layer, x), results(exact, x.to(torch.float64)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_stay_where_the_equations_send_them(kind: str, bad: float) -> None:
    torch.manual_seed(0)
    layer = getattr(fused, kind)(3, 5)
    readable = getattr(manual, kind)(3, 5)
    readable.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3, 3)
    x[1, 0, 2] = bad
    for ours, expected in zip(results(layer, x)[:2], results(readable, x)[:2], strict=True):
        torch.testing.assert_close(ours, expected, equal_nan=True)
    gradients = [torch.autograd.grad(m(x)[0][:, 1:].sum(), list(m.parameters())) for m in (layer, readable)]
    for ours, expected in zip(*gradients, strict=True):  # of sequences that it is not in
        assert torch.equal(ours.isnan(), expected.isnan())


class TestSameBits:
    @pytest.mark.parametrize("kind", KINDS)
    def test_for_any_number_of_threads(self, kind: str, two_threads: None) -> None:
        layer = getattr(fused, kind)(28, 64, bidirectional=True)
        x = pack_padded_sequence(torch.randn(28, 64, 28), torch.linspace(28, 1, 64).round().long())
        found = []
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            found.append(results(layer, x))
        for others in found[1:]:
            assert all(map(torch.equal, found[0], others))

    @pytest.mark.parametrize("kind", KINDS)
    def test_whatever_else_is_in_the_batch(self, kind: str) -> None:
        layer = getattr(fused, kind)(5, 37)
        x = torch.randn(4, 50, 5)
        with torch.no_grad():
            together = layer(x)[0]
            assert all(
                torch.equal(layer(x[:, b : b + n])[0], together[:, b : b + n]) for b, n in ((0, 1), (3, 2), (7, 11))
            )

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            *((kind, options) for kind in KINDS for options in ({}, {"bidirectional": True})),
            ("LSTM", {"bidirectional": True, "proj_size": 200}),
        ],
        ids=str,
    )
    def test_where_threads_share_a_sequence(
        self, kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, two_threads: None
    ) -> None:
        layer, x = getattr(fused, kind)(28, 250, **options), torch.randn(20, 1, 28)
        run, tasks = launch.run, []
        monkeypatch.setattr(launch, "run", lambda name, n, *given: (tasks.append((name, n)), run(name, n, *given))[1])
        expected = results(layer, x)
        for count in (1, 3, 4, 7):
            torch.set_num_threads(count)
            assert all(map(torch.equal, expected, results(layer, x)))
        directions = 1 + layer.bidirectional
        assert {n // directions for name, n in tasks if name == "backward"} >= {1, 2, 3}

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("H", "shape"), [(64, (28, 64, 28)), (200, (20, 1, 28))])
    def test_from_several_threads_at_once(
        self, kind: str, H: int, shape: tuple[int, int, int], two_threads: None
    ) -> None:
        layer, x = getattr(fused, kind)(28, H), torch.randn(shape)
        expected, found = results(layer, x), []
        workers = [threading.Thread(target=lambda: found.append(results(layer, x))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(found) == 4
        assert all(all(map(torch.equal, expected, others)) for others in found)

    def test_without_the_pool_of_pytorch(self, monkeypatch: pytest.MonkeyPatch, two_threads: None) -> None:
        layer, x = fused.LSTM(28, 64), torch.randn(28, 64, 28)
        expected = results(layer, x)
        monkeypatch.setattr(threads, "_parallel_for", None)
        assert all(map(torch.equal, expected, results(layer, x)))

    def test_in_the_threads_of_pytorch(self, monkeypatch: pytest.MonkeyPatch, two_threads: None) -> None:
        used: list[int] = []
        pool = threads._parallel_for
        assert pool is not None
        monkeypatch.setattr(threads, "_parallel_for", lambda *given: (used.append(given[1]), pool(*given))[1])
        fused.LSTM(28, 64)(torch.randn(28, 64, 28))
        assert set(used) >= {2}


class Rows(Dataset[Tensor]):
    """Each item is computed by a layer, in the worker."""

    def __init__(self) -> None:
        self.layer = fused.GRU(28, 64)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Tensor:
        with torch.no_grad():
            output: Tensor = self.layer(torch.full((28, 64, 28), float(i)))[0]
            return output


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
class TestForked:
    def test_a_child_computes_the_same(self, two_threads: None) -> None:
        layer, x = fused.LSTM(28, 64), torch.randn(28, 64, 28)
        with torch.no_grad():
            expected = layer(x)[0].numpy().tobytes()
            child = os.fork()
            if child == 0:  # here PyTorch's own operations would wait for the threads that it had
                os._exit(0 if layer(x)[0].numpy().tobytes() == expected else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    def test_workers_of_a_data_loader(self, two_threads: None) -> None:
        rows = Rows()
        loaded = list(DataLoader(rows, batch_size=None, num_workers=1, multiprocessing_context="fork"))
        assert all(map(torch.equal, loaded, [rows[i] for i in range(4)]))


class TestNothingIsComputedInVain:
    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []
        run = launch.run
        monkeypatch.setattr(launch, "run", lambda name, *given: (found.append(name), run(name, *given))[1])
        return found

    def test_for_an_input_that_needs_no_gradient(self, ran: list[str]) -> None:
        layer = fused.GRU(2, 3)
        layer(torch.randn(2, 2, 2))[0].sum().backward()
        assert ran == ["pack", "forward", "pack_backward", "backward", "weight_gradients"]

    def test_for_frozen_weights(self, ran: list[str]) -> None:
        layer = fused.LSTM(2, 3).requires_grad_(False)
        layer(torch.randn(2, 2, 2, requires_grad=True))[0].sum().backward()
        assert ran == ["pack", "forward", "pack_backward", "backward", "input_gradients"]

    def test_where_no_gradient_is_asked_for(self, ran: list[str]) -> None:
        with torch.no_grad():
            fused.RNN(2, 3)(torch.randn(2, 2, 2))
        assert ran == ["pack", "forward"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes_are_stored_so_and_computed_in_float32(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = getattr(fused, kind)(5, 19).to(dtype)
    wide = getattr(fused, kind)(5, 19)
    wide.load_state_dict(layer.state_dict())
    x = torch.randn(6, 3, 5).to(dtype)
    ours, theirs = layer(x), wide(x.float())
    assert ours[0].dtype == dtype
    assert torch.equal(ours[0], theirs[0].to(dtype))
    found = [torch.autograd.grad(r[0].sum(), list(m.parameters())) for r, m in ((ours, layer), (theirs, wide))]
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(*found, strict=True))


def test_input_and_state_of_any_strides() -> None:
    layer = fused.LSTM(4, 6)
    x = torch.randn(4, 3, 5).permute(2, 1, 0)
    h = torch.randn(6, 3, 1).permute(2, 1, 0)
    expected = layer(x.contiguous(), (h.contiguous(), h.contiguous()))
    found = layer(x, (h, h))
    assert torch.equal(found[0], expected[0])
    assert all(map(torch.equal, found[1], expected[1]))


def test_input_whose_sign_is_still_to_be_turned() -> None:
    layer, x = fused.GRU(4, 6), torch.randn(5, 3, 4, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    assert torch.equal(layer(x)[0], layer(x.resolve_neg())[0])


def test_leaves_a_layer_to_the_other_engine_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnn_parity.manual.fused.compiled import engine

    monkeypatch.setattr(engine, "is_installed", lambda: False)
    for kind in KINDS:
        monkeypatch.setattr(getattr(layers, kind), "engines", layers.ENGINES)
    ran: list[str] = []
    monkeypatch.setattr(launch, "run", lambda name, *given: ran.append(name))
    fused.GRU(2, 3)(torch.randn(2, 2, 2))
    assert not ran


PROGRAM = """
import torch
from rnn_parity.manual import fused
with torch.no_grad():
    fused.RNN(3, 4)(torch.randn(2, 2, 3))
"""

CHECKED_PROGRAM = """
import torch
from torch.nn.utils.rnn import pack_padded_sequence
from rnn_parity.manual import fused
from rnn_parity.manual.fused.compiled import launch
EDGES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129]

def call(kind, T, B, I, H, packed, **options):
    layer = getattr(fused, kind)(I, H, **options)
    x = torch.randn(T, B, I, requires_grad=True)
    directions = 1 + layer.bidirectional
    state = torch.zeros(directions, B, options.get("proj_size", H), requires_grad=True)
    hx = (state, torch.zeros(directions, B, H, requires_grad=True)) if kind == "LSTM" else state
    input = pack_padded_sequence(x, torch.linspace(T, 1, B).round().long()) if packed else x
    with torch.no_grad():
        layer(input, hx)
    output, state = layer(input, hx)
    (output.data if packed else output).sum().backward()

torch.set_num_threads(3)
for kind in ("RNN", "GRU", "LSTM"):
    call(kind, 8, 1, 5, 250, False)  # threads share the sequence
    sizes = [size for n in EDGES for size in ((3, 2, n), (n, 2, 3), (2, n, 3))]
    for B, I, H in [(97, 33, 16), (3, 5, 257), *sizes]:
        for packed in (False, True):
            call(kind, 4, B, I, H, packed, bidirectional=True)
            if kind == "LSTM" and H > 2:
                call(kind, 4, B, I, H, packed, bidirectional=True, proj_size=H // 2 + 1)
print("all inside")

place = launch.Walk.__init__
def too_small(walk, *given):
    place(walk, *given)
    walk.arguments.B -= 1  # fewer sequences than are computed
launch.Walk.__init__ = too_small
launch._padded.cache_clear()
try:
    call("LSTM", 2, 3, 2, 2, False, bidirectional=True)
except IndexError as error:
    print(error)
"""


def run_program(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )


def test_no_kernel_reaches_past_an_array() -> None:
    found = run_program(CHECKED_PROGRAM, RNN_PARITY_BOUNDS="1").stdout.splitlines()
    assert found == ["all inside", "the kernel forward reached past an array"]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for older processors of the kind x86-64")
@pytest.mark.parametrize("processor", ["haswell", "x86-64"], ids=["AVX2", "SSE2"])
def test_with_the_vectors_of_an_older_processor(processor: str, tmp_path: Path) -> None:
    environment = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    asked = "TestFunctions or TestEveryEdge or TestSameBits or projection or nan_and_infinity"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", __file__, "-k", asked]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d{3} passed", done.stdout)


class TestCache:
    def test_a_second_process_compiles_nothing(self, tmp_path: Path) -> None:
        first, second = (run_program(PROGRAM, NUMBA_CACHE_DIR=str(tmp_path)).stderr for _ in range(2))
        assert "compiling multiply, pack, forward in float32 for this processor, once ..." in first
        assert second == ""

    def test_where_no_folder_can_be_written(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.touch()
        found = run_program(PROGRAM, NUMBA_CACHE_DIR=str(file / "below")).stderr
        assert "compiling multiply, pack, forward in float32 for this processor ..." in found
        assert not CHECKED
