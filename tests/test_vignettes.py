"""Every vignette runs from its first cell to its last, without a warning."""

from __future__ import annotations

from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import pytest

VIGNETTES = sorted((Path(__file__).resolve().parent.parent / "vignettes").glob("*.py"))


@pytest.mark.parametrize("path", VIGNETTES, ids=lambda path: path.stem)
def test_vignette_runs(path, monkeypatch, tmp_path):
    notebook = jupytext.read(path)
    assert notebook.cells[0].cell_type == "markdown", "a vignette begins with words"
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert codes, f"{path.name} has no code"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    scope = {"__name__": "__main__"}
    for number, code in enumerate(codes, start=1):
        # The file name puts the failing cell into the traceback.
        exec(compile(code, f"{path.name}, code cell {number}", "exec"), scope)
