"""Make docs/state.md and its picture of what `python -m rnn_parity.world` found.

    python -m rnn_parity.world.page state    # put the results of a folder beside the last ones, then write the page
    python -m rnn_parity.world.page          # write the page of the last results
    python -m rnn_parity.world.page --check  # fail where the page is another

From the project's root. The results are bench/results/DATE-world.json, of which the newest counts.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnn_parity.bench.committed import RESULTS, MissingResults, fingerprint, newest, read
from rnn_parity.bench.pictures import save
from rnn_parity.world.faults import DESIGNS, FAULTS
from rnn_parity.world.results import DIFFERS, FAILS, HOLDS, NOT_JUDGED, NOT_OFFERED
from rnn_parity.world.roster import PACKAGES, Entry

SUBJECT = "world"
PAGE, PICTURE = Path("docs", "state.md"), Path("docs", "state.png")

# Colours that are told apart in every kind of colour blindness, with a sign each.
LOOK = {
    HOLDS: ("#9ecae1", "✓", "holds"),
    FAILS: ("#d95f02", "✗", "fails"),
    DIFFERS: ("#ffe08a", "≠", "differs by documented design"),
    NOT_OFFERED: ("#f2f2f2", "·", "not offered"),
    NOT_JUDGED: ("#ffffff", "?", "not judged"),
}
SHORT = {"float64": "64", "float32": "32", "bfloat16": "bf16", "float16": "16"}

INTRODUCTION = """\
Recurrent layers that people use, each judged by the [same tests](judging.md) through a [client](../world/clients) of a
few lines. A layer holds an aspect where, in every case drawn, all that it gives is within what
[rounding](tolerance.md) does to the equations; it fails where one case is not. What its documentation says it does not
do is not asked, and what it does another way by design is judged by its own equations (`one bias`, `reset before`,
`forget bias + 1`). A number beside a sign is the precision that fails, where others hold. What fails by itself
(such as one activation) is left out of all that is asked after, so that one fault is one cell.

These are snapshots of releases, made with few cases: a layer that holds here may fail in a case that was not drawn. If
a result looks unfair to your project, the client is at fault until shown otherwise: please open an issue."""

MISSING = """\
- A bound of its own for dynamic quantization, which rounds weights and activations to 8 bits: what that may do to a
  result depends on the range of the activations at each step. It is judged by what bfloat16 allows.
- `torch.vmap` over `nn.RNN`, `GRU`, `LSTM` and `LSTMCell` has no batching rule in this PyTorch, and says so.
- The exporter of `torch.onnx.export(dynamo=True)` writes a `nn.RNN` as some nodes for each step, where it has a node
  for a GRU or LSTM: programs of hundreds of steps take minutes.
- OpenCV has no RNN, and says so.
- Inductor compiles C++ for each number of steps of a layer, so it is judged by the layers' cells. What it does to whole
  layers in a few shapes is told [elsewhere](compatibility.md).
- ai-edge-litert, beside TensorFlow, which is judged by way of Keras.
- What installs or contacts something when it is imported; and, here, all that needs a GPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(
        prog="rnn_parity.world.page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="results of python -m rnn_parity.world --out FOLDER")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is another")
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None:
        put_beside(chosen.folder)
    results = read(SUBJECT)
    if chosen.check:
        return int(PAGE.read_text(encoding="utf-8") != page(results))
    PAGE.write_text(page(results), encoding="utf-8")
    save(picture(results["entries"]), PICTURE, fingerprint(newest(SUBJECT)))
    return 0


def put_beside(folder: Path) -> None:
    """Write the results of today: those of a folder, and the last ones of all other entries in the roster."""
    try:
        known = {entry["id"]: entry for entry in read(SUBJECT)["entries"]}
    except MissingResults:
        known = {}
    known |= {found["id"]: found for path in folder.glob("*.json") if "id" in (found := json.loads(path.read_text()))}
    wanted = [(package.called, entry.name, entry.kind) for package in PACKAGES for entry in package.entries]
    by_name = {(found["package"], found["name"], found["kind"]): found for found in known.values()}
    entries = [by_name[name] for name in wanted if name in by_name]
    (RESULTS / f"{date.today()}-{SUBJECT}.json").write_text(json.dumps({"entries": entries}, indent=1) + "\n")


def roster() -> dict[tuple[str, str, str], Entry]:
    """Return every entry by package, name and kind."""
    return {(package.called, entry.name, entry.kind): entry for package in PACKAGES for entry in package.entries}


def words(entry: Mapping[str, Any], word: str) -> str:
    """Return the aspects of that word, those that fail in some of the precisions with them."""
    found = []
    for aspect, said in entry["aspects"].items():
        if said["word"] == word:
            part = said.get("dtypes", entry["dtypes"])
            found.append(aspect.replace("_", " ") + (f" ({', '.join(part)})" if part != entry["dtypes"] else ""))
    return ", ".join(found)


def page(results: Mapping[str, Any]) -> str:
    """Return docs/state.md."""
    entries, names = results["entries"], {package.called: package.name for package in PACKAGES}
    distinct = {names[entry["package"]] for entry in entries}
    torch = sorted({entry["torch"] for entry in entries if entry["torch"]})
    failing = [entry for entry in entries if FAILS in {said["word"] for said in entry["aspects"].values()}]
    said = Counter(word for entry in entries for word in {"fails" if entry in failing else "holds"})
    parts = [
        "# The state of recurrent layers",
        INTRODUCTION,
        f"{len(entries)} layers of {len(distinct)} packages, on {results['day']} with torch {', '.join(torch)}: "
        f"{said['holds']} hold in all that they offer, {said['fails']} fail in something.",
        "![Layers by aspects: holds, fails, differs by documented design or not offered](state.png)",
        "## The layers",
        "\n".join(table(entries)),
        *designs(entries),
        "## What fails",
        "The first lines of the shortest program that the judge wrote for each.",
        *(failure(entry) for entry in failing),
        *faults(),
        "## Not here",
        MISSING,
        "## Again",
        "`tox -e world` installs every package into an environment of its own, judges all layers and writes this page; "
        "`tox -e world -- keras flax` does so for some. A layer to add is a client and a line in "
        "[world/roster.py](../world/roster.py).",
    ]
    return "\n\n".join(parts) + "\n"


def table(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table, one for each layer."""
    known = roster()
    lines = ["| package | layer | kind | reached | fails | not offered |", "| --- | --- | --- | --- | --- | --- |"]
    for entry in entries:
        told = known[entry["package"], entry["name"], entry["kind"]]
        reached = told.reached + (f"; dialect: {told.dialect}" if told.dialect else "")
        cells = (
            f"{entry['package']} {entry['version'].partition('+')[0]}",
            entry["name"],
            entry["kind"].upper(),
            reached,
        )
        fails = words(entry, FAILS) + (f"; the rest without {', '.join(entry['without'])}" if entry["without"] else "")
        lines.append(f"| {' | '.join((*cells, fails, words(entry, NOT_OFFERED)))} |")
    return lines


def designs(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the section on what differs and is documented."""
    known, lines = roster(), dict[str, None]()
    for entry in entries:
        for aspect, (sentence, where) in known[entry["package"], entry["name"], entry["kind"]].differs.items():
            if entry["aspects"][aspect]["word"] == DIFFERS:
                lines[f"- {entry['package']} {entry['name']}, {aspect.replace('_', ' ')}: {sentence} ({where})"] = None
    packages = {entry["package"] for entry in entries}
    lines |= {f"- {d.package}: {d.says} ({d.documented})": None for d in DESIGNS if d.package in packages}
    return ["## By design", "\n".join(lines)] if lines else []


def failure(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with a layer, folded."""
    first = next(said["message"] for said in entry["aspects"].values() if said["word"] == FAILS)
    name = f"{entry['package']} {entry['name']} ({entry['kind'].upper()})"
    body = [f"<details><summary>{name}: {escaped(words(entry, FAILS))}</summary>", escaped(first, 300)]
    shown = entry["shown"]
    if shown and shown["reproducer"]:
        body.append(f"```python\n{shown['reproducer']}\n```")
    return "\n\n".join([*body, "</details>"])


def escaped(text: str, most: int = 1000) -> str:
    """Return text that Markdown takes as it is."""
    text = text if len(text) <= most else text[:most] + " ..."
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("*", "\\*").replace("_", "\\_")


def faults() -> list[str]:
    """Return the section of confirmed faults, each with its program."""
    parts = [
        "## Faults",
        "Confirmed without the judge: each program is on its own, and ends with an error where the fault is there.",
    ]
    for fault in FAULTS:
        versions = ", ".join(fault.versions)
        notes = ["wrong numbers without an error" if fault.silent else "an error"]
        notes += [f"reported: {fault.report}"] if fault.report else []
        notes += [f"mended in {fault.mended}"] if fault.mended else []
        program = f"```python\n{fault.path.read_text(encoding='utf-8').strip()}\n```"
        summary = f"<details><summary>{fault.package} {versions}: {escaped(fault.wrong)}</summary>"
        parts += [summary, f"{escaped(fault.affects)} ({'; '.join(notes)})", program, "</details>"]
    return parts


def picture(entries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a row for each layer and a column for each aspect, in two halves side by side."""
    cuts = [k for k in range(1, len(entries)) if entries[k]["package"] != entries[k - 1]["package"]]
    cut = min(cuts, key=lambda k: abs(2 * k - len(entries)), default=len(entries))
    halves = [half for half in (entries[:cut], entries[cut:]) if half]
    rows = max(map(len, halves))
    figure = Figure(figsize=(13, 0.9 + 0.19 * rows), layout="constrained")
    for axes, half in zip(figure.subplots(1, len(halves), squeeze=False)[0], halves, strict=True):
        draw(axes, half, rows)
    there = {said["word"] for entry in entries for said in entry["aspects"].values()}
    shown = [look for word, look in LOOK.items() if word in there]
    patches = [Rectangle((0, 0), 1, 1, facecolor=colour) for colour, _, _ in shown]
    labels = [f"{sign} {said}" for _, sign, said in shown]
    figure.legend(patches, labels, loc="outside lower center", ncols=len(shown), frameon=False, fontsize=8)
    return figure


def draw(axes: Axes, entries: Sequence[Mapping[str, Any]], rows: int) -> None:
    """Draw the rows of some layers, from above, where there is room for so many."""
    aspects = list(entries[0]["aspects"])
    for y, entry in enumerate(entries):
        for x, aspect in enumerate(aspects):
            said = entry["aspects"][aspect]
            colour, sign, _ = LOOK[said["word"]]
            part = said.get("dtypes", entry["dtypes"])
            text = sign + ("" if part == entry["dtypes"] else " " + ",".join(SHORT[dtype] for dtype in part))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1))
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5)
        if y and entry["package"] != entries[y - 1]["package"]:
            axes.axhline(y - 0.5, color="0.3", linewidth=0.8)
    axes.set_xlim(-0.5, len(aspects) - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    names = [aspect.replace("_", " ") for aspect in aspects]
    axes.set_xticks(range(len(aspects)), names, rotation=40, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(entries)), [title(entry) for entry in entries], fontsize=7.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def title(entry: Mapping[str, Any]) -> str:
    """Return what a row is called: a package's name where the layer's does not say it."""
    kind = "" if entry["kind"].upper() in entry["name"].upper() else f" ({entry['kind'].upper()})"
    return f"{entry['package']} {entry['name']}{kind}"


if __name__ == "__main__":
    sys.exit(main())
