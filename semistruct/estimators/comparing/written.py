"""A comparison as text, LaTeX and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd

__all__ = ["written_table"]

_NOTHING = "\N{EN DASH}"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    _NOTHING: "--",
}


def written_table(comparison: Any, level: float, form: Literal["text", "latex", "html"]) -> str:
    """Table of means with intervals, and the notes below it.

    Parameters
    ----------
    comparison : ModelComparison
    level : float
        Of the intervals.
    form : {"text", "latex", "html"}
    """
    table = comparison.table(level)
    measures = comparison.measures
    header = ["model", *(m.label for m in measures), "fit, s", "folds"]
    n_folds = int(table["folds"].max())
    whole = table[table["folds"] == n_folds]
    best = {
        m.name: (whole[m.name].idxmax() if m.greater_is_better else whole[m.name].idxmin())
        for m in measures
        if whole[m.name].notna().any()
    }
    rows, bold = [], []
    for name, row in table.iterrows():
        cells = [
            _interval(row[m.name], row[f"{m.name} lower"], row[f"{m.name} upper"]) for m in measures
        ]
        seconds = row["fit seconds"]
        folds = int(row["folds"])
        rows.append(
            [
                str(name),
                *cells,
                _NOTHING if np.isnan(seconds) else f"{seconds:.2g}",
                str(folds) if folds == n_folds else f"{folds} of {n_folds}",
            ]
        )
        bold.append([False, *(best.get(m.name) == name for m in measures), False, False])
    notes = list(comparison.notes())
    notes[0] = f"Means with {100 * level:g}% intervals; {notes[0]}"
    write: Callable[..., str] = {"text": _text, "latex": _latex, "html": _html}[form]
    return write(header, rows, bold, notes)


def _interval(mean: float, lower: float, upper: float) -> str:
    """``0.528 [0.51, 0.55]``, with as many digits as tell models apart."""
    if pd.isna(mean):
        return _NOTHING
    if not np.isfinite([mean, lower, upper]).all():
        return f"{mean:.4g}"
    width = upper - lower
    decimals = 3 if width <= 0 else int(np.clip(2 - np.ceil(np.log10(width)), 0, 6))
    decimals = max(decimals, 3) if abs(mean) < 10 else decimals
    return f"{mean:.{decimals}f} [{lower:.{decimals}f}, {upper:.{decimals}f}]"


def _text(
    header: list[str], rows: list[list[str]], bold: list[list[bool]], notes: list[str]
) -> str:
    marked = [
        [cell + ("*" if strong else "") for cell, strong in zip(row, flags, strict=True)]
        for row, flags in zip(rows, bold, strict=True)
    ]
    widths = [max(len(line[k]) for line in [header, *marked]) for k in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *marked]
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", *notes])


def _latex(
    header: list[str], rows: list[list[str]], bold: list[list[bool]], notes: list[str]
) -> str:
    body = [
        " & ".join(
            rf"\textbf{{{_escaped(cell)}}}" if strong else _escaped(cell)
            for cell, strong in zip(row, flags, strict=True)
        )
        + r" \\"
        for row, flags in zip(rows, bold, strict=True)
    ]
    columns = "l" + "r" * (len(header) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in notes),
        ]
    )


def _html(
    header: list[str], rows: list[list[str]], bold: list[list[bool]], notes: list[str]
) -> str:
    head = "".join(f"<th>{_plain(cell)}</th>" for cell in header)
    body = []
    for row, flags in zip(rows, bold, strict=True):
        cells = [
            f"<td><strong>{_plain(cell)}</strong></td>" if strong else f"<td>{_plain(cell)}</td>"
            for cell, strong in zip(row[1:], flags[1:], strict=True)
        ]
        body.append(f"<tr><th scope='row'>{_plain(row[0])}</th>{''.join(cells)}</tr>")
    told = "".join(f"<p>{_plain(note)}</p>" for note in notes)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{told}"


def _plain(text: str) -> str:
    return html.escape(text, quote=False)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
