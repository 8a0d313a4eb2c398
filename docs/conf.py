"""Configuration of the documentation.

The reference has one page per module file, written into ``docs/reference`` from the source tree
before each build, so that it cannot miss a module. Vignettes become pages through jupytext, and
README, CONTRIBUTING, CHANGELOG and the benchmarks' README become pages as they are.
"""

from __future__ import annotations

import importlib.metadata
import re
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
# Types are written in words: "array of shape (n, p)" is no reference to an attribute `shape`.
suppress_warnings = ["ref.python"]

# Files of the repository that are also pages: links between them become links between pages.
PAGES = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


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


def _write_pages() -> None:
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        (DOCS / page).write_text(_with_page_links(text), encoding="utf-8")
    start = (ROOT / "README.md").read_text(encoding="utf-8")
    start = start.replace("# semistruct", "# Start here", 1).split("## Where to go on")[0]
    (DOCS / "start.md").write_text(_with_page_links(start), encoding="utf-8")


def _with_page_links(text: str) -> str:
    for source, page in PAGES.items():
        text = text.replace(f"({source})", f"({page})")
    return text


def _escape_stars(app, what, name, obj, options, lines) -> None:
    """Let a shape such as (b, *shape) stand in a docstring's types without markup."""
    for i, line in enumerate(lines):
        if "*" in line and " : " in line:
            words = line.split("``")
            words[::2] = [re.sub(r"(?<=[(, ])\*(?=\w+[,)])", r"\\*", word) for word in words[::2]]
            lines[i] = "``".join(words)


def _skip_metadata_requests(app, what, name, obj, skip, options) -> bool | None:
    """Leave out the methods that scikit-learn writes into every estimator."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def setup(app) -> None:
    """Called by sphinx."""
    app.connect("autodoc-skip-member", _skip_metadata_requests)
    app.connect("autodoc-process-docstring", _escape_stars, priority=100)  # before napoleon


_write_pages()
_write_reference()
_write_vignettes()
