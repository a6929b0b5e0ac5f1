"""What users of PyTorch do with a layer: `surface` has the corners, docs/compatibility.md the table made of them."""

import pytest

from rnn_parity.tests.unit.surface import CORNERS, KINDS, LAYERS, REFUSED, Case, Unavailable, outcome


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=pytest.mark.slow if "inductor" in title else ()) for title in CORNERS]
)
def test_corner(title: str, kind: str, layers: str) -> None:
    try:
        found = outcome(title, Case(layers, kind))
    except Unavailable as missing:
        pytest.skip(str(missing))
    refusal = REFUSED.get((title, layers))
    assert found == ("yes" if refusal is None else f"no: {refusal.why}")
