"""The benchmarks: the ratio and its interval, the goals, what is written and printed."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import binom
from torch.utils.flop_counter import FlopCounterMode

from rnn_parity.bench import arms, compare, limit, rounds
from rnn_parity.bench.arms import KINDS, STEPS, LeftOut, Setting, Shape, Truth, make_arm, make_call, make_input
from rnn_parity.bench.goals import FUSED, Outcome, time_goal
from rnn_parity.bench.limit import multiply_adds
from rnn_parity.bench.memory import peak_bytes
from rnn_parity.bench.rounds import ratio, timed_rounds
from rnn_parity.bench.table import outcomes, report

TINY = Shape(2, 3, 4, 5)


def test_the_ratio_is_the_median_of_the_rounds_and_leaves_out_those_that_were_sat_out() -> None:
    assert ratio([1.0, 2.0, 9.0, math.nan], [1.0, 1.0, 1.0, 1.0]).median == 2


def test_the_interval_s_ends_are_the_order_statistics_of_the_binomial() -> None:
    count, found = 25, ratio([float(i) for i in range(1, 26)], [1.0] * 25)
    outside = [binom.cdf(k, count, 0.5) for k in range(count)]
    largest = max(k for k in range(count) if outside[k] <= 0.025)  # that many below still leave 97.5 %
    assert (found.median, found.low, found.high) == (13, largest + 1, count - largest)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls in the order in which they were timed; each call returns its name and duration."""
    timed: list[str] = []

    def duration(call: Callable[[], tuple[str, float]], times: int, device: str) -> float:
        name, seconds = call()
        timed.append(name)
        return seconds

    monkeypatch.setattr(rounds, "timed", duration)
    return timed


def test_in_the_next_round_the_order_is_reversed(order: list[str]) -> None:
    found = timed_rounds({"a": lambda: ("a", 1.0), "b": lambda: ("b", 1.0), "c": lambda: ("c", 1.0)}, seconds=1e-9)
    assert "".join(order[6:]) == "abccba" * 3  # after two runs of each, to tell how long they take
    assert {name: len(rounds) for name, rounds in found.items()} == dict.fromkeys("abc", 6)


@pytest.mark.usefixtures("order")
def test_a_slow_call_sits_rounds_out_and_yet_gets_enough_of_them() -> None:
    found = timed_rounds({"fast": lambda: ("fast", 1.0), "slow": lambda: ("slow", 30.0)}, seconds=1e-9)
    assert [turn for turn, duration in enumerate(found["slow"]) if math.isfinite(duration)] == [0, 3, 6, 9, 12, 15]
    assert found["fast"] == [1.0] * 16


def test_the_peak_counts_what_was_freed_within_the_call() -> None:
    def call() -> torch.Tensor:
        for _ in range(3):
            torch.empty(1000, 1000)
        return torch.empty(500, 1000)

    assert peak_bytes(call) == pytest.approx(4_000_000, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"packed": True}, {"bidirectional": True, "num_layers": 2}, {"dtype": "float64"}],
    ids=["plain", "packed", "stacked", "float64"],
)
def test_the_manual_layer_is_held_against_the_truth(kind: str, options: dict[str, Any]) -> None:
    setting = Setting(kind, TINY, **options)
    found = make_call("training", make_arm("manual", setting, "cpu"), *make_input(setting, "cpu"))()
    truth = Truth(setting, "training", "cpu")
    truth.assert_equal_results(found)
    found[1] = found[1] * 1.001 + 1e-3
    with pytest.raises(AssertionError, match="bound"):
        truth.assert_equal_results(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"bidirectional": True, "num_layers": 2}], ids=["plain", "stacked", "both"]
)
def test_onnx_s_operators_compute_the_same(kind: str, options: dict[str, Any]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    setting = Setting(kind, TINY, **options)
    arm, x = make_arm("onnxruntime", setting, "cpu"), make_input(setting, "cpu")
    Truth(setting, "forward", "cpu").assert_equal_results(make_call("forward", arm, *x)())
    with pytest.raises(LeftOut, match="no gradients"):
        make_call("training", arm, *x)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "setting",
    [
        Setting("RNN", TINY),
        Setting("GRU", TINY, bidirectional=True, num_layers=3),
        Setting("LSTM", TINY, proj_size=2, num_layers=2),
    ],
    ids=str,
)
def test_the_limit_counts_the_products_of_the_manual_layer(setting: Setting, step: str) -> None:
    call = make_call(step, make_arm("manual", setting, "cpu"), *make_input(setting, "cpu"))
    with FlopCounterMode(display=False) as counted:
        call()
    B, _, _, H = setting.shape
    first = B * setting.num_layers * (1 + setting.bidirectional)  # steps whose h_0 needs no gradient
    of_states = first * limit.GATES[setting.kind] * H * (setting.proj_size or H)
    expected = multiply_adds(setting, step) - (of_states if step == "training" else 0)
    assert counted.get_total_flops() == 2 * expected


@pytest.mark.parametrize("setting", [Setting("GRU", TINY), Setting("RNN", TINY, packed=True)], ids=str)
def test_an_arm_that_has_no_place_in_a_setting_says_why(setting: Setting) -> None:
    with pytest.raises(LeftOut, match="the RNN of one layer"):
        make_arm("per-sample", setting, "cpu")
    with pytest.raises(LeftOut, match="compiling takes longer"):
        make_arm("compiled", setting, "cpu")


def test_what_takes_too_long_to_compile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_forever(layer: torch.nn.Module) -> Callable[[torch.Tensor], None]:
        return lambda x: time.sleep(60)

    monkeypatch.setattr(torch, "compile", compile_forever)
    monkeypatch.setattr(compare, "COMPILE_SECONDS", 0.05)
    found = compare.make_calls(Setting("RNN", arms.COMPILED_SHAPE), "forward", ["builtin", "compiled"], "cpu")
    assert list(found.timed) == ["builtin"]
    assert found.left_out == {"compiled": "compiling took longer than 0.05 s"}


def test_goals_are_by_setting_and_on_a_gpu_those_of_the_triton_kernels() -> None:
    plain = Setting("GRU", Shape(64, 28, 28, 64))
    assert time_goal("fused", plain, "forward", "cpu") == 0.25
    assert time_goal("fused", plain, "training", "cpu") == 0.22
    assert time_goal("fused", replace(plain, dtype="float64"), "training", "cpu") == 0.60
    assert time_goal("fused", replace(plain, bidirectional=True), "training", "cpu") is None
    assert time_goal("manual", plain, "training", "cpu") == 1.2
    assert time_goal("manual", plain, "forward", "cpu") is None
    assert time_goal("manual", replace(plain, shape=Shape(10, 30, 5, 8)), "training", "cpu") is None
    assert time_goal("fused", plain, "forward", "cuda") is None
    assert time_goal("triton", plain, "forward", "cuda") == 1.0
    assert time_goal("triton", replace(plain, kind="RNN"), "forward", "cuda") is None
    assert time_goal("triton", replace(plain, shape=Shape(32, 35, 28, 256)), "training", "cuda") is None
    assert time_goal("triton", replace(plain, bidirectional=True), "training", "cuda") == 0.8
    assert time_goal("triton", replace(plain, packed=True, dtype="bfloat16"), "training", "cuda") == 0.5
    assert time_goal("triton", replace(plain, kind="RNN", packed=True), "training", "cuda") == 0.7
    assert FUSED.keys() <= {*map(str, compare.settings("cpu"))}
    assert str(Outcome("", 0.9, 0.9)) == "0.90 met"
    assert str(Outcome("", 0.9, 0.91)) == "0.90 missed"


class Doubled(torch.nn.RNN):
    def forward(self, *arguments: Any) -> Any:
        output, state = super().forward(*arguments)
        return 2 * output, state


def test_a_wrong_arm_costs_its_own_figures_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rnn_parity.manual.fused.RNN", Doubled)
    monkeypatch.setattr(compare, "settings", lambda device: [Setting("RNN", arms.SHAPES[0])])
    monkeypatch.setattr(compare, "sweeps", lambda device: [])
    monkeypatch.setattr(compare, "draw", lambda *_: None)
    monkeypatch.setattr(compare, "KINDS", ("RNN",))
    monkeypatch.setattr(compare, "MNIST", "digits")
    command = ["--out", str(tmp_path), "--seconds", "0.1", "--threads", "1", "--steps", "2", "4"]
    assert compare.main([*command, "--arms", "manual", "fused"]) == 1
    saved = json.loads((tmp_path / "compare.json").read_text())
    assert [list(timing["arms"]) for timing in saved["timings"]] == [["builtin", "manual"]] * 2
    assert all("AssertionError: error" in timing["wrong"]["fused"] for timing in [*saved["timings"], *saved["long"]])
    assert "WRONG, fused: AssertionError: error" in capsys.readouterr().out


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run over tiny settings writes."""
    folder = tmp_path_factory.mktemp("bench")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "settings", lambda device: [Setting("RNN", arms.SHAPES[0])])
        patch.setattr(compare, "sweeps", lambda device: [Setting("RNN", Shape(64, 28, 28, 2))])
        patch.setattr(compare, "MNIST", "digits")
        command = ["--out", str(folder), "--seconds", "0.1", "--threads", "1", "--steps", "2", "4"]
        assert compare.main([*command, "--arms", "manual", "fused", "per-sample", "compiled"]) == 0
    torch.set_num_threads(threads)
    return folder


def test_a_quick_run_times_the_small_shapes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "few", lambda: [Setting(kind, arms.SHAPES[1]) for kind in KINDS])
    command = ["--out", str(tmp_path), "--seconds", "0.1", "--threads", str(torch.get_num_threads())]
    assert compare.main([*command, "--quick", "--arms", "manual", "fused"]) == 0
    saved = json.loads((tmp_path / "compare.json").read_text())
    assert [(timing["setting"]["kind"], timing["step"]) for timing in saved["timings"]] == list(product(KINDS, STEPS))
    assert (saved["long"], saved["epoch"]) == ([], None)
    assert [path.name for path in tmp_path.iterdir()] == ["compare.json"]
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("| nn.")]) == len(KINDS)


def test_the_json_holds_every_setting_with_its_arms(written: Path) -> None:
    saved = json.loads((written / "compare.json").read_text())
    assert {"machine", "versions", "date", "device", "threads", "timings", "long"} <= saved.keys()
    assert saved["threads"] == [1]
    forward, training, swept = saved["timings"]
    assert training["threads"] == 1
    assert training["limit"]["seconds"] > forward["limit"]["seconds"] > 0
    assert list(saved["epoch"]["arms"]) == ["builtin", "fused"]
    assert (forward["step"], training["step"], swept["step"]) == ("forward", "training", "training")
    for timing in (forward, training):
        assert list(timing["arms"]) == ["builtin", "manual", "fused", "per-sample"]
        assert list(timing["left_out"]) == ["compiled"]
    for arm in training["arms"].values():
        assert arm["low"] <= arm["median"] <= arm["high"]
        assert arm["seconds"] > 0
        assert arm["rounds"] >= 6
        assert arm["peak_bytes"] > 0
    assert training["arms"]["builtin"]["median"] == 1
    assert [long["setting"] for long in saved["long"]] == list(KINDS)
    for long in saved["long"]:
        assert all(len(arm["seconds"]) == len(long["steps"]) == 2 for arm in long["arms"].values())


def test_pictures_are_written(written: Path) -> None:
    for name in ("ratios.png", "long.png"):
        assert (written / name).read_bytes().startswith(b"\x89PNG")


def test_the_table_says_which_goals_are_met(written: Path) -> None:
    saved = json.loads((written / "compare.json").read_text())
    training = saved["timings"][1]["arms"]
    fused = {"median": 0.18, "low": 0.17, "high": 0.21, "seconds": 4 * saved["timings"][1]["limit"]["seconds"]}
    training["fused"] |= fused | {"peak_bytes": training["builtin"]["peak_bytes"]}
    printed = report(saved)
    assert "0.18 (0.17 to 0.21), 25%, 0.20 missed" in printed
    assert "| 1.00, 1.00 met |" in printed
    assert "- fused RNN B10 T30 I5 H8 training, 1 thread: 0.21, goal 0.20" in printed
    assert "An epoch of digits takes the built-in LSTM" in printed
    assert "Left out, compiled" in printed
    goals = list(outcomes(saved))
    assert f"{sum(goal.met for goal in goals)} of {len(goals)} goals met." in printed
    assert [goal.met for goal in goals if goal.what == "fused RNN B10 T30 I5 H8 training, 1 thread"] == [False]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--arms", "fastest"], "invalid choice: 'fastest'"),
        (["--threads", "0"], "--threads: expected different numbers from 1 up, got [0]"),
        (["--threads", "2", "2"], "--threads: expected different numbers from 1 up, got [2, 2]"),
        (["--seconds", "nan"], "--seconds: expected a positive number, got nan"),
        (["--steps", "8", "4"], "--steps: expected at least two rising positive numbers, got [8, 4]"),
        pytest.param(
            ["--device", "cuda"],
            "no CUDA device: torch.cuda.is_available() is False",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_a_wrong_option_is_a_usage_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        compare.main(["--out", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err.splitlines()[-1]


def test_the_table_s_settings_are_the_same_kinds_on_a_gpu() -> None:
    on_gpu = compare.settings("cuda")
    assert {(s.dtype, s.tf32, s.graph) for s in on_gpu} >= {
        (dtype, tf32, graph)
        for dtype, tf32 in [("float32", False), ("float32", True), ("bfloat16", False), ("float16", False)]
        for graph in (False, True)
    }
    assert {setting.kind for setting in on_gpu if setting.shape == arms.COMPILED_SHAPE} == set(KINDS)
    assert all(time_goal("triton", setting, "training", "cuda") for setting in on_gpu[:24] if setting.kind != "RNN")
    swept = compare.sweeps("cuda")
    assert {setting.shape.H for setting in swept} == {32, 64, 128, 256, 512}
    assert {setting.shape.B for setting in swept} == {1, 8, 64, 256}
    assert {setting.shape.T for setting in swept} == {28, 128, 1024}
    assert any(setting.packed for setting in swept)
    assert len({*map(str, compare.settings("cpu"))}) == len(compare.settings("cpu")) == 15 + 3 + 3 + 11 + 1


def test_on_the_cpu_triton_is_no_arm_unless_it_is_named() -> None:
    assert set(arms.arms_of("cuda")) - set(arms.arms_of("cpu")) == {"triton"}
    with pytest.raises(LeftOut, match="its kernels are CUDA's"):
        make_arm("triton", Setting("GRU", TINY), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is False")
def test_on_a_gpu_triton_is_timed_or_says_why_not() -> None:
    setting = Setting("GRU", Shape(8, 4, 16, 16))
    found = compare.measure(setting, "training", ["builtin", "triton"], "cuda", 0.1)
    assert not found["wrong"]
    assert ("triton" in found["arms"]) != ("triton" in found["left_out"])
    exact = compare.measure(replace(setting, dtype="float64"), "forward", ["builtin", "triton"], "cuda", 0.1)
    assert "triton" in exact["left_out"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is False")
def test_on_a_gpu_the_report_names_the_card_and_lists_the_sweeps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compare, "settings", lambda device: [Setting("RNN", arms.SHAPES[0])])
    monkeypatch.setattr(compare, "sweeps", lambda device: [Setting("RNN", Shape(4, 3, 28, 32), "bfloat16")])
    monkeypatch.setattr(compare, "draw", lambda *_: None)
    monkeypatch.setattr(compare, "KINDS", ("RNN",))
    command = ["--device", "cuda", "--out", str(tmp_path), "--seconds", "0.1", "--steps", "2", "4"]
    assert compare.main([*command, "--arms", "fused", "triton"]) == 0
    printed = (tmp_path / "compare.md").read_text()
    assert f"{torch.cuda.get_device_name()}, " in printed
    assert " Of the card: " in printed
    assert "| RNN bfloat16 | B4 T3 I28 H32 |" in printed
    assert "### Long sequences" in printed


def test_what_was_measured_before_an_interruption_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[dict[str, Any]] = []

    def measure(*arguments: Any) -> dict[str, Any]:
        if done:
            raise KeyboardInterrupt
        done.append(compare_measure(*arguments))
        return done[-1]

    compare_measure = compare.measure
    monkeypatch.setattr(compare, "measure", measure)
    monkeypatch.setattr(compare, "settings", lambda device: [Setting("RNN", arms.SHAPES[0])])
    command = ["--out", str(tmp_path), "--seconds", "0.1", "--threads", str(torch.get_num_threads())]
    assert compare.main([*command, "--arms", "manual"]) == 1
    saved = json.loads((tmp_path / "compare.json").read_text())
    assert len(saved["timings"]) == 1
    assert saved["interrupted"]
    assert "Interrupted" in capsys.readouterr().out
    assert "Interrupted" in (tmp_path / "compare.md").read_text()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is False")
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_is_measured_eager_and_as_a_graph(dtype: str, graph: bool) -> None:
    setting = Setting("LSTM", Shape(8, 4, 16, 16), dtype, graph=graph)
    found = compare.measure(setting, "training", ["builtin", "manual"], "cuda", 0.1)
    assert list(found["arms"]) == ["builtin", "manual"], found["wrong"]
    assert found["said"].keys() == {"builtin"} if dtype == "bfloat16" else not found["said"]
