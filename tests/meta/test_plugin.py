"""The plugin, as a user meets it: options, exit codes, summary, JSON."""

import json
import multiprocessing.popen_forkserver
from pathlib import Path

import pytest
import torch

# pytester forgets what a run imports; what is imported before it stays one and the same, the server of processes too.
from rnn_parity.judge.plugin import dispatch

assert dispatch
assert multiprocessing.popen_forkserver

CONFORMANCE = ("--pyargs", "rnn_parity.tests.conformance", "--parity-device=cpu", "--parity-dtype=float64")
QUICK = (*CONFORMANCE, "--parity-examples=2", "-p", "no:cacheprovider")

LAYERS = """
import torch

class Right(torch.nn.GRU):
    parity_unsupported = ("packed",)

class Single(torch.nn.GRU):
    parity_unsupported = ("num_layers",)

class Wrong(torch.nn.GRU):
    def forward(self, input, hx=None):
        output, h_n = super().forward(input, hx)
        return 1.001 * output, h_n

class NoPacking(torch.nn.GRU):
    def forward(self, input, hx=None):
        if isinstance(input, torch.nn.utils.rnn.PackedSequence):
            raise NotImplementedError("packed input")
        return super().forward(input, hx)

class Little(torch.nn.GRU):
    parity_dialect = ()
    parity_unsupported = ("only forward", "initial_state", "num_layers", "bidirectional", "packed", "dropout")

def run(*arguments):
    return missing

from rnn_parity.judge.adapters import layer
typo = layer("gru", run)

def fails(*args, **options):
    raise OSError("libkernel.so not found\\nsecond line")

def other(*args, **options):
    return "a layer"

def exits(*args, **options):
    import os
    os._exit(3)

number = 3
"""
REGISTERING = """
import torch, my_layers

def pytest_parity_implementations(config):
    from rnn_parity.judge import Implementation
    factories = {"exits": my_layers.exits, "class": torch.nn.GRU, "function": lambda *a, **o: torch.nn.GRU(*a, **o)}
    return [Implementation("gru", factory, f"registered {name}") for name, factory in factories.items()]
"""

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@pytest.fixture
def layers(pytester: pytest.Pytester) -> Path:
    pytester.syspathinsert()
    return pytester.makepyfile(my_layers=LAYERS)


@pytest.mark.usefixtures("layers")
def test_a_right_layer_passes_and_what_it_cannot_do_is_said(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(
        *QUICK,
        "--parity-implementation=gru=my_layers:Right",
        "--parity-json=out/verdicts.json",
        "-k",
        "forward or packed",
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["my_layers:Right * gru * cpu * float64 *pass (unsupported: packed)"])
    (verdict,) = json.loads((pytester.path / "out" / "verdicts.json").read_text())["verdicts"]
    assert verdict["verdict"] == "passed"
    assert verdict["aspects"]["packed"] == "unsupported"
    assert verdict["aspects"]["forward"] == "passed"
    assert verdict["failures"] == []


@pytest.mark.usefixtures("layers")
def test_a_wrong_layer_fails_with_a_reproducer(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(
        *QUICK, "--parity-implementation=gru=my_layers:Wrong", "-k", "forward", "--parity-json=verdicts.json"
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*my_layers:Wrong is not the GRU of the equations: output is off by *", "*FAIL: forward"]
    )
    (failure,) = json.loads((pytester.path / "verdicts.json").read_text())["verdicts"][0]["failures"]
    assert failure["aspect"] == "forward"
    with pytest.raises(AssertionError, match="output is off by"):
        exec(failure["reproducer"], {})


@pytest.mark.usefixtures("layers")
def test_how_many_of_an_aspect_s_trials_passed_is_said(pytester: pytest.Pytester) -> None:
    named = "--parity-implementation=gru=my_layers:Single"
    result = pytester.runpytest_inprocess(*QUICK, named, "-k", "stacking", "--parity-json=verdicts.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["aspects of *stacking", "my_layers:Single *pass 1 of 3"])
    (verdict,) = json.loads((pytester.path / "verdicts.json").read_text())["verdicts"]
    assert verdict["trials"]["stacking"] == {"unsupported": 2, "passed": 1}
    assert verdict["aspects"]["stacking"] == "passed"


@pytest.mark.usefixtures("layers")
def test_one_cause_fails_where_nothing_goes_without_it_and_is_one_line(pytester: pytest.Pytester) -> None:
    named = "--parity-implementation=gru=my_layers:NoPacking"
    result = pytester.runpytest_inprocess(*QUICK, named, "-k", "forward or packed or one_by_one or same")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*NoPacking *FAIL: packed (in part without what fails: packed)"])

    result = pytester.runpytest_inprocess(*QUICK, named, "-k", "forward or packed or relations")
    result.stdout.fnmatch_lines(["2 tests alike, in packed, relations: *raised NotImplementedError: packed input"])


@pytest.mark.usefixtures("layers")
def test_what_declares_nearly_everything_gets_no_pass(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*QUICK, "--parity-implementation=gru=my_layers:Little", "-k", "not layouts")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*my_layers:Little *holds in forward, relations, repeatability, nonfinite alone (uns*"]
    )


@pytest.mark.usefixtures("layers")
def test_an_adapter_with_a_typo_is_an_error_soon(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*QUICK, "--parity-implementation=gru=my_layers:typo")
    assert result.ret == 1
    said = "the adapter, in forward, raised NameError: name 'missing' is not defined; nothing is said of the layer*"
    result.stdout.fnmatch_lines(
        ["*not run: 3 tests before it ended like this*", f"*tests alike, in forward, *: {said}"]
    )


@pytest.mark.usefixtures("layers")
def test_the_good_are_judged_beside_the_bad(pytester: pytest.Pytester) -> None:
    named = ["--parity-implementation=gru=my_layers:Wrong", "--parity-implementation=gru=torch.nn:GRU"]
    result = pytester.runpytest_inprocess(*QUICK, *named, "-k", "forward")
    result.stdout.fnmatch_lines(["my_layers:Wrong *FAIL: forward", "torch.nn:GRU *pass"])
    result.assert_outcomes(passed=1, failed=1)


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--parity-implementation=my_layers:Right", "expected KIND=MODULE:ATTRIBUTE *got 'my_layers:Right'"),
        ("--parity-implementation=gro=my_layers:Right", "*KIND one of rnn, gru, lstm, got 'gro=my_layers:Right'"),
        ("--parity-implementation=gru=my_layers", "expected MODULE:ATTRIBUTE, got 'my_layers'"),
        ("--parity-implementation=gru=no_layers:Right", "*that imports, got *: ModuleNotFoundError: *"),
        ("--parity-implementation=gru=my_layers:Missing", "*that imports, got *: AttributeError: *"),
        ("--parity-implementation=gru=my_layers:number", "expected a layer class, *got my_layers:number = 3"),
        ("--parity-implementation=gru=my_layers:fails", "*got OSError: libkernel.so not found second line"),
        ("--parity-implementation=gru=my_layers:other", "expected my_layers:other to return *Module, got str"),
        ("--parity-implementation=gru=torch.nn:LSTM", "expected torch.nn:LSTM to build like torch.nn.GRU(2, 3), *"),
        ("--parity-dtype=float8", "dtype must be one of float64, float32, bfloat16, float16, got 'float8'"),
        pytest.param(
            "--parity-device=cuda",
            "--parity-device must be a device that is there, got cuda: no CUDA device: *",
            marks=without_cuda,
        ),
        ("--parity-device=gpu", "device must be one that PyTorch names, such as cpu or cuda, got 'gpu'"),
        ("--parity-examples=0", "--parity-examples must be at least 1, got 0"),
        ("--parity-json=.", "--parity-json must be a file, got the folder ."),
    ],
)
def test_bad_options_are_usage_errors_of_one_line(pytester: pytest.Pytester, option: str, says: str) -> None:
    result = pytester.runpytest_inprocess(*QUICK, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {says}"])
    assert len([line for line in result.stderr.lines if line.strip()]) == 1
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.usefixtures("layers")
def test_judging_nothing_is_an_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*QUICK, "--parity-implementation=gru=my_layers:Right", "-k", "packed")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: expected at least one test that judges something, got only skipped ones"])


@without_cuda
def test_a_device_that_is_not_there_is_named_once(pytester: pytest.Pytester) -> None:
    options = [option for option in QUICK if option != "--parity-device=cpu"]
    result = pytester.runpytest_inprocess(*options, "-k", "forward and gru", "--parity-json=verdicts.json")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] == 1
    assert "skipped" not in result.parseoutcomes()
    missing = "no CUDA device: torch.cuda.is_available() is False"
    result.stdout.fnmatch_lines([f"cuda: not judged, {missing}"])
    written = json.loads((pytester.path / "verdicts.json").read_text())
    assert written["header"]["not_judged"] == {"cuda": missing}
    assert [verdict["device"] for verdict in written["verdicts"]] == ["cpu"]


@pytest.mark.usefixtures("layers")
def test_implementations_can_be_registered_in_code_and_one_that_ends_its_process_ends_no_other(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(REGISTERING)
    result = pytester.runpytest_subprocess(*QUICK, "-k", "forward")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "registered class * gru *pass",
            "registered exits * gru *FAIL: forward",
            "registered function * gru *pass",
            "registered exits: expected 'registered exits' to import and build, but building it ended its process with"
            " exit status 3",
        ]
    )


def test_other_peoples_runs_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys\ndef pytest_sessionfinish(): assert 'torch' not in sys.modules")
    pytester.makepyfile("import sys\ndef test_nothing_is_imported(): assert 'torch' not in sys.modules")
    for options in ((), ("-n", "1")):
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
        result.assert_outcomes(passed=1)
        assert result.ret == 0
        result.stdout.no_fnmatch_line("*parity: *")
        result.stdout.no_fnmatch_line("*= parity =*")


@pytest.mark.usefixtures("layers")
def test_an_outcome_that_pytest_does_not_know_is_no_internal_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        rerunning="""
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport():
            report = yield
            report.outcome = "rerun" if report.when == "call" else report.outcome
            return report
        """
    )
    pytester.makepyfile("def test_own(): pass")
    named = "--parity-implementation=gru=my_layers:Wrong"
    for options in ((), (*QUICK, named, "-k", "forward")):
        result = pytester.runpytest_inprocess("-p", "rerunning", "-p", "no:cacheprovider", *options)
        assert result.ret == 0
        assert result.parseoutcomes()["rerun"] == 1
    result.stdout.fnmatch_lines(["my_layers:Wrong *FAIL: forward"])


@pytest.mark.usefixtures("layers")
def test_a_test_that_is_run_again_is_reported_once(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")
    named = "--parity-implementation=gru=my_layers:Wrong"
    options = ("--reruns", "1", "-k", "forward", "--parity-json=verdicts.json")
    for parallel in ((), ("-n", "1")):
        result = pytester.runpytest_subprocess(*QUICK, named, *options, *parallel)
        assert result.ret == 1
        assert result.parseoutcomes()["rerun"] == 1
        (verdict,) = json.loads((pytester.path / "verdicts.json").read_text())["verdicts"]
        assert len(verdict["failures"]) == 1


@pytest.mark.usefixtures("layers")
def test_a_test_of_one_s_own_asks_all_trials(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(ask_parity): ask_parity()\ndef test_state(ask_parity): ask_parity()")
    options = ("--parity-dtype=float64", "--parity-device=cpu", "--parity-implementation=gru=my_layers:Right")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--collect-only", "-q", *options)
    result.stdout.fnmatch_lines(
        [
            "*::test_mine[[]my_layers:Right-gru-cpu-float64-forward-equations]",
            "*::test_mine[[]my_layers:Right-gru-cpu-float64-second_order-equations]",
            "*::test_state[[]my_layers:Right-gru-cpu-float64-given]",
        ]
    )


def test_a_project_with_tests_of_its_own_is_no_obstacle(pytester: pytest.Pytester) -> None:
    folder = pytester.mkpydir("tests")
    (folder / "conftest.py").write_text("")
    (folder / "test_own.py").write_text("def test_own(): pass")
    result = pytester.runpytest_subprocess(*QUICK, "-k", "forward", "--parity-implementation=rnn=torch.nn:RNN")
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes().get("deselected", 0))


def test_works_from_an_empty_folder(pytester: pytest.Pytester) -> None:
    named = "--parity-implementation=rnn=torch.nn:RNN"
    result = pytester.runpytest_subprocess(*QUICK, named, "-k", "forward or layouts")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["torch.nn:RNN * rnn * cpu * float64 *pass"])


def test_the_seed_decides_the_cases(pytester: pytest.Pytester) -> None:
    found = []
    for seed in (1, 1, 2):
        pytester.runpytest_inprocess(*QUICK, "-k", "forward and gru", f"--parity-seed={seed}", "--parity-json=v.json")
        (verdict,) = json.loads((pytester.path / "v.json").read_text())["verdicts"]
        found.append(verdict["worst"])
    assert found[0] == found[1] != found[2]
