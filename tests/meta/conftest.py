"""No test here leaves PyTorch other than it found it, whatever its layers and its programs do."""

from collections.abc import Iterator

import pytest

from rnn_parity.judge.core.settings import settings


@pytest.fixture(autouse=True)
def _settings_as_before() -> Iterator[None]:
    before = settings()
    yield
    assert settings() == before
