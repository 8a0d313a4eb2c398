"""Configuration of the documentation.

The reference has one page per module file, written into ``docs/reference`` from the source tree
before each build, so that it cannot miss a module; a page of all public names is written from
``semistruct.__all__``. Vignettes are run and become pages with their results, and README,
CONTRIBUTING, CHANGELOG and the benchmarks' README become pages as they are.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import os
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

from _render import render  # noqa: E402

import semistruct  # noqa: E402

project = "semistruct"
author = "semistruct developers"
copyright = "semistruct developers"
release = version = importlib.metadata.version("semistruct")

extensions = [
    "_mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"semistruct {release}"

myst_enable_extensions = ["dollarmath"]
math_numfig = True
math_eqref_format = "({number})"
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

# Modules and packages that pass on names of others.
_PASSING_ON = (
    "datasets",
    "families",
    "losses",
    "metrics",
    "nn",
    "objectives",
    "plots",
    "terms",
    "zoo",
)
NAMESPACES = [f"semistruct.{name}" for name in _PASSING_ON]

# Listed on the front page, not among the vignettes.
GALLERY = "08_gallery"

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
    for name in NAMESPACES:
        (folder / f"{name}.rst").write_text(_namespace(name), encoding="utf-8")
    names = [name for name in _modules() if name not in NAMESPACES]
    for name in names:
        title = name.removeprefix("semistruct.")
        text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n   {_members(name)}\n"
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
    tree = ".. toctree::\n   :maxdepth: 1\n   :caption: {}\n\n{}\n"
    text = "Reference\n=========\n\n" + "\n".join(
        tree.format(caption, "\n".join(f"   {name}" for name in entries))
        for caption, entries in (("Namespaces", NAMESPACES), ("Modules", names))
    )
    (folder / "index.rst").write_text(text, encoding="utf-8")


def _members(name: str) -> str:
    """The option that leaves out what a module only passes on."""
    module = importlib.import_module(name)
    values = {own: getattr(module, own) for own in module.__all__}
    others = [n for n, value in values.items() if getattr(value, "__module__", name) != name]
    return f":exclude-members: {', '.join(others)}" if others else ""


def _namespace(name: str) -> str:
    """A page of names that a namespace passes on, with links to where they are documented."""
    module = importlib.import_module(name)
    lines = []
    for public in sorted(module.__all__, key=str.lower):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isroutine(value):
            role = "class" if inspect.isclass(value) else "func"
            link = f":py:{role}:`{public} <{_place(public, value)}>`"
            lines.append(f"   * - {link}\n     - {_first_line(value)}")
    title = name.removeprefix("semistruct.")
    table = ".. list-table::\n   :widths: auto\n\n" + "\n".join(lines)
    return f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n   :no-members:\n\n{table}\n"


def _first_line(value: object) -> str:
    first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r":\w+:`~?([^`]*)`", r"``\1``", first)


def _write_vignettes() -> None:
    folder = DOCS / "vignettes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = []
    kept = DOCS / "_build" / "vignettes"
    for source in sorted((ROOT / "vignettes").glob("*.py")):
        # Running a vignette takes a minute; its pages are kept until it or the package changes.
        store = kept / f"{source.stem}-{_checksum(source)}"
        if not store.is_dir():
            for old in kept.glob(f"{source.stem}-*"):
                shutil.rmtree(old)
            draft = kept / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            page = render(source, draft)
            (draft / f"{source.stem}.md").write_text(page, encoding="utf-8")
            os.replace(draft, store)
        shutil.copytree(store, folder, dirs_exist_ok=True)
        if source.stem != GALLERY:
            names.append(source.stem)
    entries = "\n".join(names)
    (folder / "index.md").write_text(
        f"# Vignettes\n\nEach is a notebook kept as text in `vignettes/`.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n",
        encoding="utf-8",
    )


def _checksum(vignette: Path) -> str:
    files = [vignette, DOCS / "_render.py", *sorted((ROOT / "semistruct").rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _public() -> dict[str, object]:
    return {name: getattr(semistruct, name) for name in semistruct.__all__}


def _place(name: str, value: object) -> str:
    """Where a public name is documented."""
    if inspect.ismodule(value):
        return value.__name__
    return f"{value.__module__}.{value.__qualname__}"


def _write_public() -> None:
    """One line for every public name, with a link to where it is documented."""
    groups: dict[str, list[str]] = {"Classes": [], "Functions and terms": [], "Namespaces": []}
    for name, value in sorted(_public().items(), key=lambda item: item[0].lower()):
        first = _first_line(value).replace("``", "`")
        if inspect.ismodule(value):
            group, role = "Namespaces", "mod"
        elif inspect.isclass(value):
            group, role = "Classes", "exc" if issubclass(value, BaseException) else "class"
        else:
            group, role = "Functions and terms", "func"
        link = f"{{py:{role}}}`{name} <{_place(name, value)}>`"
        groups[group].append(f"| {link} | {first} |")
    text = "# Public names\n\nEverything that `import semistruct as ss` gives, by `ss.<name>`.\n"
    for title, lines in groups.items():
        text += f"\n## {title}\n\n| name | |\n|---|---|\n" + "\n".join(lines) + "\n"
    (DOCS / "public.md").write_text(text, encoding="utf-8")


def _resolve_public(app, env, node, contnode):
    """Let `semistruct.CoxPH` in a docstring lead to the class where it is documented."""
    target = node.get("reftarget", "")
    first, _, rest = target.removeprefix("semistruct.").partition(".")
    if node.get("refdomain") != "py" or first not in _public():
        return None
    place = _place(first, _public()[first]) + (f".{rest}" if rest else "")
    if place == target:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], place, node, contnode
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
    return text.replace("(docs/_static/", "(_static/")


def _escape_stars(app, what, name, obj, options, lines) -> None:
    """Let a shape such as (b, *shape) stand in a docstring's types without markup."""
    for i, line in enumerate(lines):
        if "*" in line and " : " in line:
            words = line.split("``")
            words[::2] = [re.sub(r"(?<=[(, ])\*(?=\w+[,)])", r"\\*", word) for word in words[::2]]
            lines[i] = "``".join(words)


def _one_attribute_each(app, what, name, obj, options, lines) -> None:
    """Write ``params, bse : Series`` of a section of attributes as one entry for each name.

    Napoleon splits the names of parameters, not those of attributes.
    """
    found: list[str] = []
    section, entry, names = "", [], []

    def close() -> None:
        for own in names:
            found.extend([entry[0].replace(", ".join(names), own, 1), *entry[1:]])
        entry.clear()
        names.clear()

    for i, line in enumerate(lines):
        underline = lines[i + 1] if i + 1 < len(lines) else ""
        if line.strip() and set(underline.strip()) == {"-"}:
            close()
            section = line.strip()
        several = re.match(r"^(\w+(?:, \w+)+)(?: : .*)?$", line)
        if section.endswith("ttributes") and several and set(underline.strip()) != {"-"}:
            close()
            names.extend(several[1].split(", "))
            entry.append(line)
        elif names and (line.startswith(" ") or not line.strip()):
            entry.append(line)
        else:
            close()
            found.append(line)
    close()
    lines[:] = found


def _keep_underscores(app, what, name, obj, options, lines) -> None:
    """Let ``coef_`` be called so: an underscore at the end of a field's name is markup."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"^(:(?:ivar|vartype) \w+?)\\?_:", r"\1\\_:", line)


def _skip_metadata_requests(app, what, name, obj, skip, options) -> bool | None:
    """Leave out the methods that scikit-learn writes into every estimator."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def setup(app) -> None:
    """Called by sphinx."""
    app.connect("autodoc-skip-member", _skip_metadata_requests)
    app.connect("autodoc-process-docstring", _escape_stars, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", _one_attribute_each, priority=110)
    app.connect("autodoc-process-docstring", _keep_underscores, priority=900)
    app.connect("missing-reference", _resolve_public)


_write_pages()
_write_public()
_write_reference()
_write_vignettes()
