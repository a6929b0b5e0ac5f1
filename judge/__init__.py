"""The verdict: whether an RNN, GRU or LSTM computes what the equations say."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        ASPECTS,
        Case,
        Implementation,
        ImplementationError,
        JudgeError,
        ParityError,
        assert_parity,
        replay,
    )

__all__ = [
    "ASPECTS",
    "Case",
    "Implementation",
    "ImplementationError",
    "JudgeError",
    "ParityError",
    "assert_parity",
    "replay",
]


def __getattr__(name: str) -> Any:
    # pytest loads the plugin beside this file in every run of every project: PyTorch is imported only when asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
