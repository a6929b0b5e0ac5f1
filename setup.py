"""Finds the packages; all else is in pyproject.toml, whose own search gives no prefix to what it finds."""

from setuptools import find_namespace_packages, setup

FOLDERS = ("bench", "judge", "manual", "reference", "tasks", "tests", "world")

# Every top-level folder x/ is imported as rnn_parity.x; rnn_parity itself is a namespace package. So is
# rnn_parity.tests: with a file of its own pytest would import it as "tests", the name of most projects' own.
found = find_namespace_packages(include=[*FOLDERS, *(f"{name}.*" for name in FOLDERS)], exclude=["*__pycache__*"])
setup(packages=[f"rnn_parity.{name}" for name in found], package_dir={"rnn_parity": "."})
