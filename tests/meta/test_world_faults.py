"""Every fault that is told of released software is shown by its program, in the versions it is told of."""

import ast
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnn_parity.world.faults import ALL, DESIGNS, FAULTS, FOLDER, Fault, shown

PROGRAMS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.program)
def test_a_program_shows_its_fault(fault: Fault) -> None:
    for package in (fault.package, *fault.beside):
        if package not in {found.name for found in importlib.metadata.distributions()}:
            pytest.skip(f"{package} is not installed")
    version = importlib.metadata.version(fault.package).partition("+")[0]
    if version not in fault.versions:
        pytest.skip(f"{fault.package} {version} is installed; the fault was seen in {', '.join(fault.versions)}")
    seen = shown(fault)
    assert seen is not None
    assert seen.shown, seen.said


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_is_small_and_stands_alone(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 25
    assert "rnn_parity" not in text
    tree = ast.parse(text)
    first = ast.get_docstring(tree)
    assert first
    assert len(first.splitlines()) == 1
    assert isinstance(tree.body[-1], ast.Assert)
    assert tree.body[-1].msg is not None


def test_the_programs_are_those_of_the_faults() -> None:
    assert [path.stem for path in PROGRAMS] == sorted(fault.program for fault in FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.program)
def test_a_fault_is_told_whole(fault: Fault) -> None:
    assert set(fault.kinds) <= set(ALL)
    assert fault.kinds
    assert fault.versions
    assert fault.mended not in fault.versions
    assert fault.wrong.endswith(".")
    assert fault.affects.endswith(".")
    assert fault.report is None or fault.report.startswith("https://")
    assert f"import {fault.module}" in fault.path.read_text() or f"from {fault.module}" in fault.path.read_text()
    assert not fault.silent or fault.fails.startswith("AssertionError: ")


def test_silent_faults_come_first() -> None:
    assert [fault.silent for fault in FAULTS] == sorted((fault.silent for fault in FAULTS), reverse=True)
    assert DESIGNS


@pytest.mark.parametrize(
    ("program", "fails", "told"),
    [
        ("assert 1 == 2, '1, not 2'", "AssertionError: 1, not 2", True),
        ("assert 1 == 2, '1, not 2'", "AssertionError: 2, not 1", False),
        ("raise KeyError('a')", "AssertionError: ", False),
        ("import sys; print('AssertionError: ', file=sys.stderr)", "AssertionError: ", False),
        ("", "AssertionError: ", False),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "SIGSEGV",
            True,
            marks=pytest.mark.skipif(os.name != "posix", reason="no signals here"),
        ),
    ],
)
def test_a_fault_is_shown_by_what_it_says_alone(program: str, fails: str, told: bool, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program)
    fault = SimpleNamespace(package="pytest", beside=(), fails=fails, path=path)
    seen = shown(fault, sys.executable)  # type: ignore[arg-type]
    assert seen is not None
    assert seen.shown is told
    assert seen.version == pytest.__version__


def test_a_package_that_is_not_there_shows_nothing() -> None:
    assert shown(SimpleNamespace(package="no-such-package", beside=())) is None  # type: ignore[arg-type]
