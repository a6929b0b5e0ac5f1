"""A recurrent state is handled alike, whichever layer it is of."""

import pytest
import torch

from rnn_parity.tasks.state import detached, hidden


@pytest.mark.parametrize("pair", [False, True], ids=["h", "h and c"])
def test_a_detached_state_keeps_its_values(pair: bool) -> None:
    h, c = torch.randn(2, 1, 2, 3, requires_grad=True).unbind()
    found = detached((h, c) if pair else h)
    assert isinstance(found, tuple) == pair
    assert torch.equal(hidden(found), h)
    for part, source in zip(found if isinstance(found, tuple) else (found,), (h, c), strict=False):
        assert torch.equal(part, source)
        assert source.requires_grad
        assert not part.requires_grad
