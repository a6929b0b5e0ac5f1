"""Plots as part of a page: small, in the page's own colours and letters, light and dark."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

# A plot is drawn in colours that stand for those of the page: variables of its style sheet.
INK, FAINT = "#010203", "#010204"
COLOURS = {"builtin": "#010205", "manual": "#010206", "fused": "#010207"}
MORE = ("#010208", "#010209", "#01020a")
VARIABLES = {
    INK: "currentColor",
    FAINT: "var(--line)",
    COLOURS["builtin"]: "var(--muted)",
    COLOURS["manual"]: "var(--plot-1)",
    COLOURS["fused"]: "var(--plot-2)",
    **{colour: f"var(--plot-{place})" for place, colour in enumerate(MORE, 3)},
}
STYLE: Any = {  # as Matplotlib types it from one version to the next
    **{f"{name}.color": INK for name in ("text", "xtick", "ytick")},
    **{f"axes.{name}color": INK for name in ("label", "title")},
    **{"axes.edgecolor": FAINT, "grid.color": FAINT, "grid.linewidth": 0.6, "axes.grid": True},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "font.size": 9},
    **{"figure.facecolor": "none", "axes.facecolor": "none", "legend.frameon": False, "text.parse_math": False},
    **{"svg.fonttype": "none", "path.simplify_threshold": 0.5, "font.family": "sans-serif"},
    **{"font.sans-serif": ["DejaVu Sans"], "axes.unicode_minus": False},
}


def figure(width: float, height: float) -> Figure:
    """Return a figure to draw on, inside `style`."""
    return Figure(figsize=(width, height), layout="constrained")


def style() -> Any:
    """Return the context in which plots are drawn."""
    return matplotlib.rc_context(STYLE)


def colour_of(implementation: str, place: int) -> str:
    """Return the colour of an implementation, by its place where it has none of its own."""
    return COLOURS.get(implementation, MORE[place % len(MORE)])


def inline(drawn: Figure, name: str, title: str) -> str:
    """Return a figure as an element of a page.

    Args:
        drawn: the figure.
        name: of which there is one in the page.
        title: what the picture is, for who does not see it.
    """
    FigureCanvasSVG(drawn)
    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        drawn.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(text.getvalue())
    _tidy(root, name)
    root.attrib |= {"role": "img", "aria-label": title}
    return _in_page_s_colours(ElementTree.tostring(root, encoding="unicode"))


def _tidy(root: ElementTree.Element, name: str) -> None:
    """Leave out what a page has no use for, and make the names that are left its only ones."""
    for element in root.findall(f"{{{SVG}}}metadata"):
        root.remove(element)
    for element in root.iter():
        named = element.attrib.pop("id", None)
        if element.tag in (f"{{{SVG}}}{used}" for used in ("path", "clipPath")) and named:
            element.set("id", f"{name}-{named}")
        for key, value in element.attrib.items():
            if key == f"{{{LINK}}}href":
                element.set(key, value.replace("#", f"#{name}-"))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))


def _in_page_s_colours(text: str) -> str:
    for drawn, shown in VARIABLES.items():
        text = text.replace(drawn, shown)
    text = re.sub(r"font: ([\d.]+)px '?[^;\"]*", r"font: \1px sans-serif", text)
    return re.sub(r"(\.\d{2})\d+", r"\1", text)


ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", LINK)
