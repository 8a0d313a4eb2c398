"""The shape of the house: who may import whom, and what every module looks like.

``LEVELS`` below is the plan. A new file or folder directly under ``semistruct/`` fails the tests
until it has a line there; a new file inside a folder has its folder's level.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "semistruct"

# A module imports from its own level and below, never from above.
LEVELS = {
    "exceptions": 0,
    "_registry": 0,
    "_validation": 0,
    "linalg": 0,
    "links": 1,
    "columns": 1,
    "losses": 1,
    "responses": 1,
    "terms": 2,
    "encoders": 2,
    "families": 2,
    "fusion": 2,
    "design": 3,
    "orthogonalization": 3,
    "modalities": 4,
    "predictor": 4,
    "batch": 4,
    "modality_dropout": 4,
    "term_network": 4,
    "network": 4,
    "blueprint": 4,
    "objectives": 4,
    "fitting": 5,
    "inference": 6,
    "evaluation": 6,
    "plots": 6,  # below the estimators, whose plot() methods call them
    "estimators": 7,
    "zoo": 7,
    "nn": 7,  # public namespaces: they only pass names on
    "metrics": 7,
    "datasets": 8,
    "demo": 8,
    "__init__": 9,
}

# The four axes of variation: any member of one goes with any member of another.
AXES = frozenset({"terms", "encoders", "families", "fusion"})

# Packages that an axis may use besides the standard library and semistruct itself.
THIRD_PARTY = {
    "terms": frozenset({"numpy", "scipy", "pandas", "formulaic"}),
    "encoders": frozenset({"torch"}),
}

# Literal dicts from names to classes; only these rooms turn a user's name into a class.
REGISTRIES = frozenset(
    {"ENCODERS", "FAMILIES", "FUSIONS", "OBJECTIVES", "SMOOTHS", "SOLVERS", "TERMS"}
)
JOINERS = frozenset({"estimators", "zoo", "nn", "metrics", "__init__"})

MAX_LINES = 400
REASON = "# Longer than 400 lines because"


@dataclass(frozen=True)
class Import:
    """One imported module, as absolute dotted name, and where it is written."""

    target: str
    names: tuple[str, ...]
    line: int
    in_function: bool
    typing_only: bool


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    path: Path
    name: str  # dotted
    tree: ast.Module
    source: str

    @property
    def unit(self) -> str:
        """Its line in the table of levels: a file or folder directly under the package."""
        return unit_of(self.name)

    @property
    def is_empty_room(self) -> bool:
        """A folder's ``__init__.py`` with nothing but a docstring: planned and not built yet."""
        return self.path.name == "__init__.py" and len(self.tree.body) <= 1

    @property
    def imports(self) -> tuple[Import, ...]:
        return tuple(find_imports(self.tree, self.name, self.path.name == "__init__.py"))

    def at(self, line: int) -> str:
        return f"{self.path}:{line}"


def unit_of(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def find_imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[Import]:
    """Every import statement, those inside functions and ``if TYPE_CHECKING`` included."""

    def walk(node: ast.AST, in_function: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, (), child.lineno, in_function, typing_only)
            elif isinstance(child, ast.ImportFrom):
                names = tuple(alias.name for alias in child.names)
                target = absolute(child, module, is_package)
                yield Import(target, names, child.lineno, in_function, typing_only)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from walk(child, in_function or function, typing_only or typing)

    yield from walk(tree, False, False)


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - 1 if is_package else node.level
    base = module.split(".")
    base = base[: len(base) - up]
    return ".".join([*base, *([node.module] if node.module else [])])


def module_of(source: str, dotted: str, path: str) -> Module:
    return Module(Path(path), dotted, ast.parse(source), source)


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[dotted] = module_of(
            path.read_text(encoding="utf-8"), dotted, str(path.relative_to(ROOT))
        )
    return found


def targets(item: Import, known: dict[str, Module] | frozenset[str]) -> set[str]:
    """The modules of the package that an import statement asks for."""
    if item.target.split(".")[0] != PACKAGE:
        return set()
    if not item.names:
        return {item.target}
    submodules = {f"{item.target}.{name}" for name in item.names}
    inside = {name for name in submodules if name in known}
    if item.target == PACKAGE:  # `from semistruct import terms` also before terms exists
        inside |= {name for name in submodules if unit_of(name) in LEVELS}
    return inside or {item.target}


# --- the rules, each a function from one module to sentences --------------------------------


def level_errors(module: Module) -> Iterator[str]:
    if module.unit not in LEVELS:
        yield (
            f"{module.path}: {module.unit!r} has no level; add it to LEVELS in "
            "tests/test_architecture.py, or put the file into one of the folders there."
        )
        return
    own = LEVELS[module.unit]
    for item in module.imports:
        for target in sorted(targets(item, modules())):
            unit = unit_of(target)
            if unit not in LEVELS:
                yield f"{module.at(item.line)}: imports {target}, which has no level."
            elif LEVELS[unit] > own:
                yield (
                    f"{module.at(item.line)}: {module.unit} (level {own}) imports {target} (level "
                    f"{LEVELS[unit]}); lower never imports higher. Pass the value in as an "
                    "argument, or move the shared piece down."
                )
            elif {unit, module.unit} <= AXES and unit != module.unit:
                yield (
                    f"{module.at(item.line)}: {module.unit} imports {target}; "
                    f"{', '.join(sorted(AXES))} never import each other. Only estimators/ joins "
                    "them."
                )


def third_party_errors(module: Module) -> Iterator[str]:
    allowed = THIRD_PARTY.get(module.unit)
    if allowed is None:
        return
    for item in module.imports:
        top = item.target.split(".")[0]
        if top not in allowed | {PACKAGE, "__future__"} and top not in sys.stdlib_module_names:
            yield (
                f"{module.at(item.line)}: {module.unit}/ imports {top}; allowed there: "
                f"{', '.join(sorted(allowed))}."
            )


def local_import_errors(module: Module) -> Iterator[str]:
    for item in module.imports:
        if item.in_function and item.target.split(".")[0] == PACKAGE:
            yield (
                f"{module.at(item.line)}: imports {item.target} inside a function; import at the "
                "top, and if that makes a cycle, move the shared piece down a level."
            )


def registry_errors(module: Module) -> Iterator[str]:
    if module.unit in JOINERS:
        return
    for item in module.imports:
        if item.target.split(".")[0] != PACKAGE or unit_of(item.target) == module.unit:
            continue
        for name in sorted(REGISTRIES.intersection(item.names)):
            yield (
                f"{module.at(item.line)}: {module.unit} reads the registry {name}; only "
                "estimators/ turns names into classes. Take the object itself as an argument."
            )


def shape_errors(module: Module) -> Iterator[str]:
    if not ast.get_docstring(module.tree):
        yield f"{module.path}: has no docstring; say in one line what the module is."
    if not module.is_empty_room and not any(_assigns_all(node) for node in module.tree.body):
        yield f"{module.path}: has no __all__; list its public names."
    lines = module.source.splitlines()
    if len(lines) > MAX_LINES and not any(line.startswith(REASON) for line in lines[:5]):
        yield (
            f"{module.path}: has {len(lines)} lines; split it by concept, or begin it with "
            f"'{REASON} ...'."
        )


def _assigns_all(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        named = node.targets
    elif isinstance(node, ast.AnnAssign):
        named = [node.target]
    else:
        return False
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in named)


def statement_errors(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert):
            yield (
                f"{module.at(node.lineno)}: assert is switched off by python -O; raise an error of "
                "semistruct.exceptions."
            )
        elif isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"{module.at(node.lineno)}: bare except; name the exception."
            elif _hides_everything(node):
                yield (
                    f"{module.at(node.lineno)}: catches every exception and goes on; name the "
                    "exception that is expected."
                )


def _hides_everything(node: ast.ExceptHandler) -> bool:
    broad = isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
    return broad and all(isinstance(stmt, ast.Pass | ast.Continue) for stmt in node.body)


RULES = {
    "levels": level_errors,
    "third_party": third_party_errors,
    "local_imports": local_import_errors,
    "registries": registry_errors,
    "shape": shape_errors,
    "statements": statement_errors,
}


# --- rules about the whole graph -------------------------------------------------------------


def runtime_graph() -> dict[str, set[str]]:
    """Module to modules it imports when it is loaded; type-only imports are left out."""
    known = modules()
    return {
        name: {
            target
            for item in module.imports
            if not item.typing_only
            for target in targets(item, known)
            if target in known
        }
        for name, module in known.items()
    }


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """A path of modules that ends where it starts, or None."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for target in sorted(graph.get(name, ())):
            cycle = visit(target, [*path, name])
            if cycle:
                return cycle
        done.add(name)
        return None

    for name in sorted(graph):
        cycle = visit(name, [])
        if cycle:
            return cycle
    return None


def path_to(graph: dict[str, set[str]], start: str, goals: set[str]) -> list[str] | None:
    """Shortest chain of imports from a module to one of the goals."""
    queue, seen = [[start]], {start}
    while queue:
        path = queue.pop(0)
        if path[-1] in goals:
            return path
        for target in sorted(graph[path[-1]] - seen):
            seen.add(target)
            queue.append([*path, target])
    return None


# --- the tests -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_rule_holds_in_every_module(rule):
    assert modules(), f"no modules found under {ROOT / PACKAGE}"
    errors = [error for module in modules().values() for error in RULES[rule](module)]
    assert not errors, "\n" + "\n".join(errors)


def test_no_import_cycles():
    cycle = find_cycle(runtime_graph())
    assert cycle is None, " -> ".join(cycle or [])


def test_terms_reach_no_torch_through_other_modules():
    graph = runtime_graph()
    with_torch = {
        name
        for name, module in modules().items()
        if any(item.target.split(".")[0] == "torch" for item in module.imports)
    }
    chains = [
        " -> ".join([*path, "torch"])
        for name in graph
        if unit_of(name) == "terms"
        if (path := path_to(graph, name, with_torch))
    ]
    assert not chains, "terms/ is numpy and scipy only:\n" + "\n".join(chains)


def test_every_folder_is_a_package():
    folders = {path.parent for path in (ROOT / PACKAGE).rglob("*.py")}
    missing = [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]
    assert not missing, f"no __init__.py in {missing}"


# One violation of each rule, so that a rule that finds nothing is known to look.
VIOLATIONS = {
    "upwards": ("levels", "design", "from semistruct.fitting import newton"),
    "upwards_relative": ("levels", "terms.linear", "from ..design import Design"),
    "upwards_from_package": ("levels", "linalg", "from semistruct import terms"),
    "upwards_in_function": ("levels", "linalg", "def f():\n    import semistruct.terms"),
    "upwards_for_types": (
        "levels",
        "linalg",
        "if TYPE_CHECKING:\n    from semistruct.terms import Term",
    ),
    "the_top": ("levels", "estimators.cox", "import semistruct"),
    "across_axes": ("levels", "families.normal", "from semistruct.terms.base import Term"),
    "unknown_unit": ("levels", "helpers", "x = 1"),
    "torch_in_terms": ("third_party", "terms.linear", "import torch.nn as nn"),
    "torch_in_terms_function": ("third_party", "terms.linear", "def f():\n    import torch"),
    "sklearn_in_encoders": ("third_party", "encoders.cnn", "from sklearn.base import clone"),
    "local": ("local_imports", "design", "def f():\n    from semistruct.terms import s"),
    "registry": ("registries", "fitting.deep", "from semistruct.families import FAMILIES"),
    "no_docstring": ("shape", "design", "__all__ = []"),
    "no_all": ("shape", "design", '"""Doc."""\nimport os'),
    "too_long": ("shape", "design", '"""Doc."""\n__all__ = []\n' + "x = 1\n" * MAX_LINES),
    "assert": ("statements", "design", "assert True"),
    "bare_except": ("statements", "design", "try:\n    f()\nexcept:\n    raise"),
    "swallowed": ("statements", "design", "try:\n    f()\nexcept Exception:\n    pass"),
}

FINE = {
    "downwards": ("levels", "estimators.cox", "from semistruct.terms import s"),
    "same_folder": ("levels", "terms.linear", "from .base import Term"),
    "same_level": ("levels", "network", "from semistruct.predictor import Predictor"),
    "optional": ("local_imports", "plots.effects", "def f():\n    import captum"),
    "standard_library": ("third_party", "terms.linear", "import math, collections.abc"),
    "joined": ("registries", "estimators.cox", "from semistruct.families import FAMILIES"),
    "own_registry": ("registries", "terms.formula", "from semistruct.terms import TERMS"),
    "reasoned": (
        "shape",
        "design",
        f'{REASON} it is one table.\n"""Doc."""\n__all__ = []\n' + "x = 1\n" * MAX_LINES,
    ),
    "assertion_in_words": ("statements", "design", 'x = "assert"'),
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_rule_finds_a_violation(case):
    rule, name, source = VIOLATIONS[case]
    dotted = f"{PACKAGE}.{name}"
    errors = list(RULES[rule](module_of(source, dotted, dotted.replace(".", "/") + ".py")))
    assert len(errors) == 1, errors
    assert "semistruct/" in errors[0]


@pytest.mark.parametrize("case", FINE)
def test_rule_lets_pass(case):
    rule, name, source = FINE[case]
    dotted = f"{PACKAGE}.{name}"
    errors = list(RULES[rule](module_of(source, dotted, dotted.replace(".", "/") + ".py")))
    assert not errors


def test_relative_imports_of_a_package_start_at_the_package():
    tree = ast.parse("from .base import Term\nfrom ..design import Design")
    found = [item.target for item in find_imports(tree, "semistruct.terms", is_package=True)]
    assert found == ["semistruct.terms.base", "semistruct.design"]


def test_a_cycle_is_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_contributors_are_told_the_same_levels():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.*) \|$", text, flags=re.MULTILINE)
    told = {
        name.rstrip("/"): int(level)
        for level, rooms in rows
        for name in re.findall("`(.+?)`", rooms)
    }
    assert told == {name: level for name, level in LEVELS.items() if name != "__init__"}
