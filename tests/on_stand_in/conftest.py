"""Runs commands on the stand-in for CUDA, where it can be built."""

from collections.abc import Callable

import pytest

from rnn_parity.tests.cuda_stand_in import preloaded

Run = Callable[..., str]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of processes which see the stand-in."""
    missing = preloaded.missing()
    if missing is not None:
        pytest.skip(missing)
    return preloaded.build(tmp_path_factory.mktemp("stand_in"))


@pytest.fixture
def on_stand_in(environment: dict[str, str]) -> Run:
    """Run Python with some arguments on the stand-in, and return what it printed, which ended with an exit status."""

    def run(*command: str, status: int = 0, **more: str) -> str:
        done = preloaded.run(environment | {"OMP_NUM_THREADS": "1"} | more, *command)
        assert done.returncode == status, f"exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    return run


@pytest.fixture
def tested(on_stand_in: Run) -> Run:
    """Run tests on the stand-in: those of a module, chosen by further arguments."""

    def run(module: str, *options: str, status: int = 0, **more: str) -> str:
        command = (
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            "--tb=short",
            "--pyargs",
            f"rnn_parity.tests.{module}",
        )
        return on_stand_in(*command, *options, status=status, **more)

    return run
