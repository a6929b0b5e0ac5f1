"""The verdict: whether an RNN, GRU or LSTM computes what the equations say."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aspects import ASPECTS, assert_parity
    from .implementation import Implementation, ImplementationError
    from .verdict import ParityError

__all__ = ["ASPECTS", "Implementation", "ImplementationError", "ParityError", "assert_parity"]


def __getattr__(name: str) -> Any:
    # pytest loads the plugin beside this file in every run of every project: PyTorch is imported only when asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import aspects, implementation, verdict

    return next(getattr(module, name) for module in (aspects, implementation, verdict) if hasattr(module, name))
