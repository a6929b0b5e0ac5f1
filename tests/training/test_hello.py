"""hello learns its word with the built-in and with the manual layer, whatever it starts from."""

import pytest

from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.task import find_layer
from rnn_parity.tasks.train import train


@pytest.mark.parametrize("seed", range(10))
def test_ends_on_ohlol(implementation: str, device: str, seed: int) -> None:
    task = Hello()
    data = task.load().to(device)
    lines: list[str] = []
    run = train(task, find_layer(implementation, "RNN"), data, epochs=task.epochs, seed=seed, report=lines.append)
    assert len(lines) == task.epochs == 15
    assert all("guess " in line for line in lines)
    assert lines[-1].endswith("guess ohlol")
    assert run.metrics[-1] == 1.0
