"""Configuration of the documentation.

The reference has one page per module file, written into ``docs/reference`` from the source tree
before each build, so that it cannot miss a module. Vignettes become pages through jupytext.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import jupytext

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

project = "semistruct"
author = "semistruct developers"
copyright = "semistruct developers"
release = version = importlib.metadata.version("semistruct")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"semistruct {release}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings state types with shapes
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes described in a docstring and in the class body: one entry
napoleon_custom_sections = [("Class attributes", "Attributes")]


def _modules() -> list[str]:
    """Dotted names of the public modules of the package, in the order of the folder."""
    files = sorted((ROOT / "semistruct").rglob("*.py"))
    parts = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    return [
        ".".join(names)
        for names in parts
        if len(names) > 1 and not any(name.startswith("_") for name in names)
    ]


def _write_reference() -> None:
    folder = DOCS / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = _modules()
    for name in names:
        title = name.removeprefix("semistruct.")
        text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n"
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
    entries = "\n".join(f"   {name}" for name in names)
    (folder / "index.rst").write_text(
        f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n", encoding="utf-8"
    )


def _write_vignettes() -> None:
    folder = DOCS / "vignettes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = []
    for source in sorted((ROOT / "vignettes").glob("*.py")):
        notebook = jupytext.read(source)
        notebook.metadata = {}
        text = jupytext.writes(notebook, fmt="md")
        (folder / f"{source.stem}.md").write_text(text, encoding="utf-8")
        names.append(source.stem)
    entries = "\n".join(names)
    (folder / "index.md").write_text(
        f"# Vignettes\n\nEach is a notebook kept as text in `vignettes/`.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n",
        encoding="utf-8",
    )


_write_reference()
_write_vignettes()
