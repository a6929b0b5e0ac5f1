"""Lets tox's environments share one virtual environment: they differ in their commands only, and torch is large.

tox 4 rebuilds an `env_dir` whenever the name of the environment that uses it changes, for the sake of environments
with other dependencies. `runner = shared` in tox.ini leaves the name out of that comparison, and nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.info import Info
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class _SharedInfo(Info):
    @contextmanager
    def compare(self, value: Any, section: str, sub_section: str | None = None) -> Iterator[tuple[bool, Any | None]]:
        if section == ToxEnv.__name__:
            value = {**value, "name": "shared"}
        with super().compare(value, section, sub_section) as result:
            yield result


class SharedEnv(VirtualEnvRunner):
    """A virtual environment that any number of tox environments with the same dependencies run in."""

    @staticmethod
    def id() -> str:
        """Return the name that `runner` in tox.ini has for it."""
        return "shared"

    @property
    def cache(self) -> Info:
        """Return what tox remembers of the environment, without who used it last."""
        return _SharedInfo(self.env_dir)


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Make the runner known to tox."""
    register.add_run_env(SharedEnv)
