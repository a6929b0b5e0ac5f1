"""The roster of layers that people ship, and the page of what was found."""

import json
from collections import Counter
from pathlib import Path

import pytest

from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.trials.table import ASPECTS
from rnn_parity.reference.spec import KINDS
from rnn_parity.world import results
from rnn_parity.world.page import page, put_beside, read, roster
from rnn_parity.world.roster import PACKAGES, Entry, Package

OF_TORCH = [entry for package in PACKAGES if package.name == "torch" for entry in package.entries]
GRU = Entry("GRU", "gru", "x:GRU", "as it is", differs={"packed": ("lengths are bounds", "its manual")})


@pytest.mark.parametrize("entry", OF_TORCH, ids=lambda entry: f"{entry.name}-{entry.kind}")
def test_a_client_of_torch_s_own_layers_imports(entry: Entry) -> None:
    assert implementation_from(entry.location, entry.kind).name == entry.location


def test_the_roster_names_each_layer_once_and_what_it_needs() -> None:
    names = Counter((package.called, entry.name, entry.kind) for package in PACKAGES for entry in package.entries)
    assert [name for name, count in names.items() if count > 1] == []
    clients = Path(results.__file__).parent / "clients"
    for package in PACKAGES:
        assert package.name == "torch" or all(">=" in requirement for requirement in package.requirements)
        for entry in package.entries:
            assert entry.kind in KINDS
            assert set(entry.differs) <= set(ASPECTS)
            module, _, attribute = entry.client.partition(":")
            assert attribute in (clients / f"{module}.py").read_text()


def verdict(dtype: str, **aspects: str) -> dict[str, object]:
    failures = [
        {
            "aspect": aspect,
            "trial": "t",
            "message": f"x is not the GRU of the equations: {aspect} is off",
            "reproducer": "",
        }
        for aspect, result in aspects.items()
        if result == "failed"
    ]
    return {
        "dtype": dtype,
        "cases": 3,
        "worst": {"tensor": "output", "ratio": 0.12345},
        "aspects": aspects,
        "failures": failures,
        "without": [],
    }


def test_a_word_for_each_aspect() -> None:
    report = {
        "header": {"torch": "2.14.1"},
        "verdicts": [
            verdict("float64", forward="passed", gradients="failed", packed="failed", dropout="unsupported"),
            verdict("float32", forward="passed", gradients="passed", packed="failed", stacking="error"),
        ],
    }
    found = results.record(Package("p", ("p>=1",), (GRU,)), GRU, "1.2", report, 5)
    words = {aspect: said["word"] for aspect, said in found["aspects"].items()}
    assert words["forward"] == results.HOLDS
    assert found["aspects"]["gradients"] == {
        "word": results.FAILS, "dtypes": ["float64"], "message": "gradients is off"
    }  # fmt: skip
    assert words["packed"] == results.DIFFERS
    assert words["dropout"] == results.NOT_OFFERED
    assert words["stacking"] == results.NOT_JUDGED
    assert found["worst"] == {"tensor": "output", "ratio": 0.123}


def test_without_a_report_nothing_is_said() -> None:
    found = results.record(Package("p", ("p>=1",), (GRU,)), GRU, "1.2", None, 5)
    assert {said["word"] for said in found["aspects"].values()} == {results.NOT_JUDGED}


def test_the_page_is_that_of_the_committed_results(pytestconfig: pytest.Config) -> None:
    root = pytestconfig.rootpath
    if not (root / "docs" / "state.md").exists():
        pytest.skip(f"no pages in {root}: not run from a checkout")
    found = read("world", root)
    assert (root / "docs" / "state.md").read_text(encoding="utf-8") == page(found)
    assert {(entry["package"], entry["name"], entry["kind"]) for entry in found["entries"]} <= roster().keys()


def test_results_of_some_packages_take_the_place_of_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench" / "results").mkdir(parents=True)
    package, entry = PACKAGES[-1], PACKAGES[-1].entries[0]
    for folder, version in (("first", "1"), ("second", "2")):
        (tmp_path / folder).mkdir()
        found = results.record(package, entry, version, None, 1)
        (tmp_path / folder / "found.json").write_text(json.dumps(found))
        put_beside(Path(folder))
        assert [found["version"] for found in read("world", tmp_path)["entries"]] == [version]
