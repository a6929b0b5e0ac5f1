"""How bad input is refused: in torch.nn's class of error, in words of our own."""

from collections.abc import Callable
from typing import Any

import pytest
from jaxtyping import TypeCheckError


def assert_same_class(call: Callable[[], Any], builtin_call: Callable[[], Any], message: str = ".") -> None:
    """Fail unless both raise the same class of error, and the first one's message matches."""
    with pytest.raises(Exception) as expected:  # noqa: PT011 (compared below)
        builtin_call()
    with pytest.raises(Exception) as error:  # noqa: PT011 (the same)
        call()
    if error.type is TypeCheckError:
        pytest.skip("refused by its type before the layer sees it: --jaxtyping-packages is on")
    assert error.type is expected.type, error.value
    error.match(message)
