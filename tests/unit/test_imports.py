"""Imports go one way: between the folders of the project, inside the judge, and never in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What each folder may import of the others.
FOLDERS = {
    "reference": set[str](),
    "manual": set[str](),
    "tasks": set[str](),
    "judge": {"reference"},
    "bench": {"reference", "manual", "judge", "tasks", "tests"},  # the pages show planted faults
    "tests": {"reference", "manual", "judge", "tasks", "bench", "world"},
    "world": {"reference", "manual", "judge", "tasks", "bench", "tests"},
}
# Each part of the judge may import those before it; the last are on top of all.
JUDGE = ("core", "programs", "checks", "trials", "worker", "page", "plugin", "api", "top")
SIDE_BY_SIDE = ("plugin", "api")


def modules() -> dict[str, Path]:
    """Return every module of the project by its name without `rnn_parity.`"""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imported(module: str, path: Path) -> Iterator[str]:
    """Yield what a module imports of the project, anywhere in it, for type checkers alone among it."""
    package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["rnn_parity", *package][: len(package) + 2 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("rnn_parity."):
                yield name.removeprefix("rnn_parity.")


def resolved(name: str) -> str:
    """Return the module that a name is, or is in; the name where that is none."""
    inside = name.rpartition(".")[0]
    return name if name in MODULES else inside if inside in MODULES else name


GRAPH = {module: {resolved(name) for name in imported(module, path)} - {module} for module, path in MODULES.items()}


def part(module: str) -> str:
    """Return which part of the judge a module is in."""
    name = module.split(".")[1] if "." in module else "top"
    return name if name in JUDGE else "top"


def test_folders_import_one_way() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in sorted(others)
        if other.split(".")[0] not in FOLDERS[module.split(".")[0]] | {module.split(".")[0]}
    ]
    assert wrong == []


def test_the_judge_imports_downward() -> None:
    wrong = []
    for module, others in GRAPH.items():
        for other in sorted(others):
            if module.split(".")[0] == other.split(".")[0] == "judge" and part(module) != part(other):
                upward = JUDGE.index(part(other)) > JUDGE.index(part(module))
                if upward or {part(module), part(other)} == set(SIDE_BY_SIDE):
                    wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_the_page_needs_nothing_but_verdicts() -> None:
    pages = {module for module in MODULES if module.startswith("judge.page.")}
    others = {other for module in pages for other in GRAPH[module]} - pages - {"judge.page"}
    assert others == {"judge.core.results"}  # which imports no PyTorch: a merge takes no time


def test_there_is_no_circle() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


def test_what_is_imported_is_there() -> None:
    missing = {module: sorted(others - MODULES.keys() - FOLDERS.keys()) for module, others in GRAPH.items()}
    assert {module: names for module, names in missing.items() if names} == {}
    assert GRAPH["judge.checks.equations"] >= {"reference.rounding", "judge.core.call", "judge.programs.forms"}
    assert GRAPH["judge"] == {"judge.api"}
