"""The gallery: a page with every task's picture and figures, made by one command."""

import json
from pathlib import Path

import pytest

from rnn_parity.tasks import TASKS
from rnn_parity.tasks.gallery import EXHIBITS, main, page, task_type


def test_shows_every_task() -> None:
    assert {exhibit.task for exhibit in EXHIBITS.values()} == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_finds_a_task_by_its_name(name: str) -> None:
    assert task_type(name).name == name


def test_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path / "docs"), "--runs", str(tmp_path / "runs"), "--device", "cpu", "--only", "hello"]
    main(options)
    page = (tmp_path / "docs" / "gallery.md").read_text()
    assert "## hello\n\nTeach an RNN to answer" in page
    assert "\n    python -m rnn_parity.tasks.hello\n" in page
    assert "| builtin | 255 | 15 | 1.0000 | " in page
    assert "| manual | 255 | 15 | 1.0000 | " in page
    (picture,) = (tmp_path / "docs" / "gallery").glob("*.png")
    assert f"(gallery/{picture.name})" in page
    assert picture.read_bytes().startswith(b"\x89PNG")

    assert "resumed" not in capsys.readouterr().out
    main(options)
    assert capsys.readouterr().out.count("resumed after epoch 15") == 2
    assert (tmp_path / "docs" / "gallery.md").read_text() == page


def test_the_committed_page_says_what_the_committed_results_say() -> None:
    docs = Path("docs")
    if not (docs / "gallery" / "results.json").is_file():
        pytest.skip("the project's root is elsewhere")
    results = json.loads((docs / "gallery" / "results.json").read_text())
    assert (docs / "gallery.md").read_text() == page(results)
    assert {file.stem for file in (docs / "gallery").glob("*.png")} == set(results)
