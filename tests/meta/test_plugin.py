"""The plugin, as a user meets it: options, exit codes, summary, JSON."""

import json
from pathlib import Path

import pytest

# pytester forgets what a run imports; what is imported before it stays one and the same.
from rnn_parity.judge.plugin import dispatch

assert dispatch

CONFORMANCE = ("--pyargs", "rnn_parity.tests.conformance", "--parity-device=cpu", "--parity-dtype=float64")
QUICK = (*CONFORMANCE, "--parity-examples=2", "-p", "no:cacheprovider")

LAYERS = """
import torch

class Right(torch.nn.GRU):
    parity_unsupported = ("packed",)

class Wrong(torch.nn.GRU):
    def forward(self, input, hx=None):
        output, h_n = super().forward(input, hx)
        return 1.001 * output, h_n

def fails(*args, **options):
    raise OSError("libkernel.so not found\\nsecond line")

def other(*args, **options):
    return "a layer"

number = 3
"""


@pytest.fixture
def layers(pytester: pytest.Pytester) -> Path:
    pytester.syspathinsert()
    return pytester.makepyfile(my_layers=LAYERS)


@pytest.mark.usefixtures("layers")
def test_a_right_layer_passes_and_what_it_cannot_do_is_said(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(
        *QUICK, "--parity-implementation=gru=my_layers:Right", "--parity-json=out/verdicts.json"
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


def test_an_implementation_can_be_registered_in_code(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import torch

        def pytest_parity_implementations(config):
            from rnn_parity.judge import Implementation
            return [Implementation("rnn", torch.nn.RNN, "registered")]
        """
    )
    result = pytester.runpytest_inprocess(*QUICK, "-k", "forward")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["registered *rnn *pass"])


def test_other_peoples_runs_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_nothing_is_imported(): assert 'torch' not in sys.modules")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*parity: *")
    result.stdout.no_fnmatch_line("*= parity =*")


def test_a_project_with_tests_of_its_own_is_no_obstacle(pytester: pytest.Pytester) -> None:
    folder = pytester.mkpydir("tests")
    (folder / "conftest.py").write_text("")
    (folder / "test_own.py").write_text("def test_own(): pass")
    result = pytester.runpytest_subprocess(*QUICK, "-k", "forward", "--parity-implementation=rnn=torch.nn:RNN")
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes().get("deselected", 0))


def test_works_from_an_empty_folder_and_in_parallel(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    result = pytester.runpytest_subprocess(*QUICK, "-n", "2", "--parity-implementation=rnn=torch.nn:RNN")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["torch.nn:RNN * rnn * cpu * float64 *pass"])


def test_the_seed_decides_the_cases(pytester: pytest.Pytester) -> None:
    found = []
    for seed in (1, 1, 2):
        pytester.runpytest_inprocess(*QUICK, "-k", "forward and gru", f"--parity-seed={seed}", "--parity-json=v.json")
        (verdict,) = json.loads((pytester.path / "v.json").read_text())["verdicts"]
        found.append(verdict["worst"])
    assert found[0] == found[1] != found[2]
