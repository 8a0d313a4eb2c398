"""Vignettes as pages: every cell is run, and what it prints, returns and draws stands below it."""

from __future__ import annotations

import ast
import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import jupytext
import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["render"]


def render(source: Path, folder: Path) -> str:
    """The page of a vignette; its figures are written into ``folder / "figures"``."""
    matplotlib.use("Agg")
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    scope: dict[str, Any] = {"__name__": "__main__"}
    pieces = []
    number = 0
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "markdown":
            pieces.append(cell.source)
            continue
        pieces.append(f"```python\n{cell.source}\n```")
        results, value = _run(cell.source, f"{source.name}", scope)
        pieces += results
        drawn = [plt.figure(manager) for manager in plt.get_fignums()]
        if isinstance(value, Figure) and value not in drawn:
            drawn.append(value)
        for figure in drawn:
            number += 1
            name = f"{source.stem}_{number:02d}.png"
            figure.savefig(figures / name, dpi=110, bbox_inches="tight")
            width = round(figure.get_size_inches()[0] * 96)
            pieces.append(
                f"```{{image}} figures/{name}\n:alt: figure {number} of this page\n"
                f":width: {width}px\n:class: figure\n```"
            )
        plt.close("all")
    return "\n\n".join(pieces) + "\n"


def _run(code: str, name: str, scope: dict[str, Any]) -> tuple[list[str], Any]:
    """Run a cell; what stands below it, and the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error")
        # Figures are collected after the cell.
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
        exec(compile(tree, name, "exec"), scope)
        if last is not None:
            expression = ast.Expression(last.value)  # type: ignore[attr-defined]
            value = eval(compile(expression, name, "eval"), scope)
    found = []
    if printed.getvalue().strip():
        found.append(_text(printed.getvalue().rstrip()))
    if value is not None and not isinstance(value, Figure | Axes):
        found.append(_shown(value))
    return found, value


def _shown(value: Any) -> str:
    html = getattr(value, "_repr_html_", None)
    if html is not None and (written := html()) is not None:
        return f'```{{raw}} html\n<div class="output">\n{written}\n</div>\n```'
    return _text(repr(value))


def _text(text: str) -> str:
    return f"```{{code-block}} text\n:class: output\n\n{text}\n```"
