"""Base and head, each checked out and installed without its dependencies, beside the same PyTorch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rnn_parity.bench.gate.workplace import GateError, Workplace

KEPT = "manual"  # the one folder of this project that is measured: what measures is the same for both sides


class Side(NamedTuple):
    """A state of the repository that can be imported.

    Args:
        name: "base" or "head".
        commit: its hash.
        paths: searched first for what is imported.
    """

    name: str
    commit: str
    paths: list[Path]

    def __str__(self) -> str:
        return f"{self.name} {self.commit[:10]}"


def git(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in the folder that is current, and return what it prints.

    Raises:
        GateError: it fails, or is not there.
    """
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, env=env, check=False)
    except FileNotFoundError as error:
        raise GateError("expected git, which is not installed") from error
    if found.returncode:
        raise GateError(f"git {arguments[0]}: {last_line(found.stderr)}")
    return found.stdout.strip()


def last_line(output: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it said nothing")


def merge_base(revision: str) -> str:
    """Return the commit from which this branch left another.

    Raises:
        GateError: there is no such revision, or it has nothing in common with this one.
    """
    try:
        named = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except GateError as error:
        raise GateError(f"expected --base to name a commit, got {revision!r}") from error
    try:
        return git("merge-base", named, "HEAD")
    except GateError as error:
        raise GateError(
            f"expected --base and HEAD to have a commit in common, {revision!r} has none (a shallow clone?)"
        ) from error


def snapshot(folder: Path) -> str:
    """Return a commit of the working tree as it is, with what is not committed and not ignored.

    Args:
        folder: for an index of its own, so that the repository's stays as it is.
    """
    index = folder / "index"
    shutil.copyfile(git("rev-parse", "--path-format=absolute", "--git-path", "index"), index)
    env = {**os.environ, "GIT_INDEX_FILE": str(index)}
    git("add", "--all", "--", git("rev-parse", "--show-toplevel"), env=env)
    tree = git("write-tree", env=env)
    if tree == git("rev-parse", "HEAD^{tree}"):
        return git("rev-parse", "HEAD")
    author = {f"GIT_{who}_{what}": "gate" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return git("commit-tree", tree, "-p", "HEAD", "-m", "the working tree", env={**env, **author})


def prepared(commits: Mapping[str, str], place: Workplace) -> dict[str, Side]:
    """Check commits out and install them where they can be.

    Args:
        commits: by the name of the side.
        place: where to put them.

    Raises:
        GateError: one does not build.
    """
    inside = git("rev-parse", "--show-prefix")  # where in the repository the gate was called
    sides = {}
    for name, commit in commits.items():
        tree = place.folder / name / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        sides[name] = Side(name, commit, [place.folder / name / "site", tree / inside])
    place.each(lambda side: _install(side, place.folder / side.name / "tree", place), sides.values())
    return sides


def _install(side: Side, tree: Path, place: Workplace) -> None:
    site = side.paths[0]
    if any((tree / file).exists() for file in ("pyproject.toml", "setup.py")):
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(site)]
        installed = place.run([sys.executable, *pip, str(tree)])
        if installed.returncode:
            raise GateError(f"{side} does not build: {last_line(installed.stdout)}")
    _keep_the_layers(site)


def _keep_the_layers(site: Path) -> None:
    for found in [*site.glob("rnn_parity/*"), *site.glob("rnn_parity-*.dist-info")]:
        if found.name != KEPT:
            shutil.rmtree(found) if found.is_dir() else found.unlink()
