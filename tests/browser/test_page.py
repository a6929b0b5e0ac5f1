"""The page in a browser: it says what the JSON says, works by keyboard, for everyone, and asks nothing of a network."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from rnn_parity.judge.core.results import WORDS, result_of
from rnn_parity.judge.page.verdicts import Document
from rnn_parity.judge.page.writing import write_report
from rnn_parity.tests.browser import records
from rnn_parity.tests.browser.conftest import Open

SCREENS = list(product(("light", "dark"), (390, 1400)))


def grid_of(verdicts: list[dict[str, Any]], dtype: str | None = None, device: str | None = None) -> list[list[str]]:
    """Return the words of the grid as the JSON has them."""
    chosen = [v for v in verdicts if dtype in (None, v["dtype"]) and device in (None, v["device"])]
    layers = dict.fromkeys((v["implementation"], v["kind"]) for v in verdicts)
    return [
        [
            WORDS[result_of({v["aspects"][aspect] for v in chosen if (v["implementation"], v["kind"]) == layer})]
            for aspect in records.ASPECTS
        ]
        for layer in layers
    ]


def shown(page: Any) -> list[list[str]]:
    """Return the words of the grid as the page has them."""
    words: list[list[str]] = page.evaluate(
        "[...grid.tBodies[0].rows].map(row => [...row.querySelectorAll('button')].map(button => button.innerText))"
    )
    return words


def verdicts_in(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "verdicts.json").read_text())["verdicts"]
    return found


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def focus(page: Any) -> str:
    """Return what has the focus, as text."""
    text: str = page.evaluate("document.activeElement.value || document.activeElement.innerText")
    return text


def tab_to(page: Any, name: str) -> None:
    """Press the tab key until an element that matches has the focus."""
    for _ in range(200):
        press(page, "Tab")
        if page.evaluate(f"document.activeElement.matches({name!r})"):
            return
    raise AssertionError(f"the tab key never comes to {name}")


def test_the_grid_is_that_of_the_json_for_every_choice(opened: Open, report: Path) -> None:
    page, verdicts = opened(report), verdicts_in(report)
    words: set[str] = set()
    for dtype, device in product((None, *records.DTYPES), (None, "cpu", "mps")):
        page.locator("input[name=dtype]").nth(0 if dtype is None else 1 + records.DTYPES.index(dtype)).check()
        page.locator("input[name=device]").nth(0 if device is None else 1 + ("cpu", "mps").index(device)).check()
        assert shown(page) == grid_of(verdicts, dtype, device)
        words.update(*shown(page))
    assert words == set(WORDS.values())


def test_behind_each_cell_are_the_numbers_of_the_json(opened: Open, report: Path) -> None:
    page, verdicts = opened(report), verdicts_in(report)
    for place, verdict in enumerate(verdicts[:: len(records.DTYPES) * 2]):
        alike = [v for v in verdicts if v["implementation"] == verdict["implementation"]]
        for column, aspect in enumerate(records.ASPECTS):
            page.locator("#grid tbody tr").nth(place).locator("button").nth(column).click()
            measured = [v["measured"][aspect] for v in alike]
            cases, tensors, undetermined = (
                sum(m[key] for m in measured) for key in ("cases", "tensors", "undetermined")
            )
            said = f"{cases:,} cases, {tensors:,} tensors judged, {undetermined:,} undetermined."
            assert page.locator("#cell-sum").inner_text() == said
            rows = page.evaluate(
                "[...document.getElementById('cell-rows').rows].map(row => [...row.cells].map(c => c.innerText))"
            )
            for row, verdict_of_row in zip(rows, alike, strict=True):
                assert_row(row, verdict_of_row, aspect)
            bars = page.evaluate("[...document.querySelectorAll('#cell-ratios title')].map(t => t.textContent)")
            counted = [sum(counts) for counts in zip(*(m["ratios"] for m in measured), strict=True)]
            if tensors:
                assert bars == [f"{count:,} tensors" for count in counted]
            press(page, "Escape")


def assert_row(row: list[str], verdict: dict[str, Any], aspect: str) -> None:
    measured, (result, count) = verdict["measured"][aspect], *verdict["trials"][aspect].items()
    numbers = [f"{measured[key]:,}" for key in ("cases", "tensors", "undetermined")]
    assert row[:6] == [verdict["dtype"], verdict["device"], f"{count} {WORDS[result]}", *numbers]
    if measured["worst"]:
        ratio, _, tensor = row[6].partition(" ")
        assert float(ratio) == float(f"{float(measured['worst']['ratio']):.3g}")
        assert tensor == f"({measured['worst']['tensor']})"


def test_filters_work_by_keyboard(opened: Open, report: Path) -> None:
    page, verdicts = opened(report), verdicts_in(report)
    tab_to(page, "input[name=dtype]")
    press(page, "ArrowRight", "ArrowRight")
    assert shown(page) == grid_of(verdicts, records.DTYPES[1])
    tab_to(page, "input[name=device]")
    press(page, "ArrowRight")
    assert shown(page) == grid_of(verdicts, records.DTYPES[1], "cpu")
    tab_to(page, "input[name=show]")
    press(page, "ArrowRight")
    wrong = [place for place, row in enumerate(shown(page)) if {"FAIL", "ERROR"} & set(row)]
    rows = page.locator("#grid tbody tr")
    assert [place for place in range(rows.count()) if rows.nth(place).is_visible()] == wrong
    tab_to(page, "input[name=name]")
    page.keyboard.type("package_0")
    assert page.locator("#shown").inner_text() == "1 of 6 layers, float32, cpu"


def test_a_cell_opens_and_its_program_is_copied_by_keyboard(opened: Open, report: Path) -> None:
    page, verdicts = opened(report), verdicts_in(report)
    tab_to(page, "#grid button")
    assert focus(page) == "FAIL"
    press(page, "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "Enter")
    assert page.locator("dialog").is_visible()
    tab_to(page, "dialog .copy")
    press(page, "Enter")
    page.locator("dialog .copy", has_text="Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == verdicts[0]["failures"][0]["reproducer"]
    press(page, "Escape")
    assert not page.locator("dialog").is_visible()
    assert focus(page) == "FAIL"
    tab_to(page, "[data-of=command]")
    press(page, "Enter")
    page.locator("[data-of=command]", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#command").inner_text()


def test_the_files_of_programs_are_those_of_the_cells(opened: Open, report: Path) -> None:
    page, verdict = opened(report), verdicts_in(report)[0]
    page.locator("#grid button").first.click()
    file = page.locator("dialog details a").first.get_attribute("href")
    ran = subprocess.run([sys.executable, str(report / file)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "forward", verdict["dtype"], verdict["device"]]


def test_every_section_has_what_there_is(opened: Open, report: Path) -> None:
    page = opened(report)
    assert page.locator("h2").all_inner_texts()[:7] == [
        "Which aspects hold", "Benchmarks", "Base and head", "Tasks", "Score", "Calibration", "Made with",
    ]  # fmt: skip
    assert page.locator("main svg").count() == 4
    assert "1 of 2 planted faults were found." in page.locator("main").inner_text()
    assert f"Missed: {records.HURTS} in rnn." in page.locator("main").inner_text()
    assert page.locator("#command").inner_text() != ""
    repeated = "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, at, ids) => ids.indexOf(id) !== at)"
    assert page.evaluate(repeated) == []


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_nothing_keeps_anyone_out(opened: Open, report: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(report, width, color_scheme=scheme)
    for cell in (None, ".failed", ".error", ".passed", ".unsupported"):
        if cell is not None:
            page.locator(f"#grid {cell}").first.click()
        found = axe.Axe().run(page)
        assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found.response["violations"]] == []
        press(page, "Escape")


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_the_page_fits_the_screen(opened: Open, report: Path, scheme: str, width: int) -> None:
    page = opened(report, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    assert page.locator("#theme").inner_text() == {"light": "Light", "dark": "Dark"}[scheme]


def test_nothing_moves_while_the_page_opens(opened: Open, report: Path) -> None:
    shifts = """new Promise(done => {
        new PerformanceObserver(list => done(list.getEntries().length)).observe({type: "layout-shift", buffered: true});
        setTimeout(() => done(0), 500);
    })"""
    for _, width in SCREENS:
        assert opened(report, width).evaluate(shifts) == 0


def test_without_scripts_the_grid_is_there(opened: Open, report: Path) -> None:
    page = opened(report, java_script_enabled=False)
    words = page.locator("#grid tbody button").all_inner_texts()
    assert words == [word for row in grid_of(verdicts_in(report)) for word in row]
    assert page.locator("noscript").is_visible()
    assert not page.locator("#filters").is_visible()


def test_the_page_is_small(report: Path) -> None:
    assert (report / "index.html").stat().st_size < 1_000_000


def test_ten_thousand_records_open(opened: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document: Document = records.document(10_000 // (len(records.ASPECTS) * len(records.DTYPES)) + 1, devices=("cpu",))
    write_report(tmp_path, document)
    page = opened(tmp_path)
    milliseconds = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    with capsys.disabled():
        print(f" {milliseconds:.0f} ms ", end="")  # printed, not asserted: it is the machine's as much as the page's
    assert sum(len(verdict["aspects"]) for verdict in document["verdicts"]) >= 10_000
    assert shown(page) == grid_of(verdicts_in(tmp_path))
    assert milliseconds < 10_000
