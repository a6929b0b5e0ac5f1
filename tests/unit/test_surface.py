"""What users of PyTorch do with a layer: `surface` has the corners, docs/compatibility.md the table made of them."""

import pytest

from rnn_parity.tests.unit.surface import CORNERS, KINDS, LAYERS, REFUSED, Case, Unavailable, outcome

BRIEF = {"the same by `inductor`": ("GRU",)}  # it takes half a minute a kind; bench/compatibility.py asks of all


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize(("title", "kind"), [(title, kind) for title in CORNERS for kind in BRIEF.get(title, KINDS)])
def test_corner(title: str, kind: str, layers: str) -> None:
    try:
        found = outcome(title, Case(layers, kind))
    except Unavailable as missing:
        pytest.skip(str(missing))
    refusal = REFUSED.get((title, layers))
    assert found == ("yes" if refusal is None else f"no: {refusal.why}")
