"""An environment for each package: it sees what this one has, and has its own packages beside."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

SEES = "import site; site.addsitedir({!r})\n"  # not a bare path: what is installed here to be edited is found too


class NotInstalled(Exception):
    """What uv said, in one line."""


def environment(name: str, requirements: Sequence[str], folder: Path) -> Path:
    """Make an environment, or bring one up to date that is there, and return its Python.

    What this environment has, PyTorch above all, is not installed again: the new one sees it.

    Args:
        name: of the environment.
        requirements: what to install; where there are none, this environment serves.
        folder: that holds the environments.

    Raises:
        NotInstalled: uv could not install what is required.
    """
    if not requirements:
        return Path(sys.executable)
    place = (folder / name).resolve()
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        uv("venv", "--python", sys.executable, place)
        site = sysconfig.get_path("purelib", "venv", {"base": str(place)})
        Path(site, "seen.pth").write_text(SEES.format(sysconfig.get_path("purelib")))
    here = place / "here.txt"
    never = "; python_version < '0'"
    here.write_text("".join(f"{name} {never}\n" for name in sorted({found.name for found in distributions()})))
    uv("pip", "install", "--python", python, "--overrides", here, *requirements)
    return python


def uv(*arguments: object) -> None:
    """Run uv.

    Raises:
        NotInstalled: it failed.
    """
    run = subprocess.run(["uv", "--quiet", *map(str, arguments)], capture_output=True, text=True)
    if run.returncode:
        raise NotInstalled(" ".join(run.stderr.split())[:500])
