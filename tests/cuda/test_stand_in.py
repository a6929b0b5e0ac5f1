"""What CUDA changes, without a GPU: each test runs others in a process that sees the stand-in for a device."""

from .conftest import Run


def test_the_layers(tested: Run) -> None:
    tested("cuda.on_layers")
