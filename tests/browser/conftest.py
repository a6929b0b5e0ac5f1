"""Chromium, driven by playwright; where one of them is missing, these tests are skipped and say so."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rnn_parity.judge.page.verdicts import Document
from rnn_parity.judge.page.writing import write_report
from rnn_parity.tests.browser import records

NAMES = ("chromium", "chromium-browser", "google-chrome")

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)} is installed")
    # Chromium's own walls need rights that root in a container does not have; it opens nothing but our page.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with api.sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def document() -> Document:
    return records.document(6)


@pytest.fixture(scope="session")
def report(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report, all sections filled."""
    folder = tmp_path_factory.mktemp("report")
    for name, record in {
        "bench/compare.json": records.BENCH,
        "hello/builtin/metrics.json": records.training("builtin"),
        "hello/manual/metrics.json": records.training("manual"),
        "gate.json": records.GATE,
        "score.json": records.SCORE,
        "calibration.json": records.CALIBRATION,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(record))
    write_report(folder, document)
    return folder


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Open a folder's page; a request that leaves it, an error, or a word on the console is a failure in the end."""
    said: list[str] = []
    contexts = []

    def open_page(folder: Path, width: int = 1400, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 850}, **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        address = (folder / "index.html").as_uri()
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda box: (said.append(f"dialog: {box.message}"), box.dismiss()))
        page.on(
            "request",
            lambda request: None if request.url in (address, "data:,") else said.append(f"asks {request.url}"),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
