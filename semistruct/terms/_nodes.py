"""The syntax tree of a formula: its nodes, walking them, and writing them as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from semistruct.terms._tokens import Span, quote_name

__all__ = [
    "Binary",
    "Call",
    "Constant",
    "Dot",
    "Group",
    "Name",
    "Node",
    "Number",
    "Sum",
    "Text",
    "Unary",
    "height",
    "tidied",
    "to_text",
    "walk",
]


@dataclass(frozen=True)
class Node:
    """A piece of a formula. Abstract; ``span`` is where it stands in the text."""

    span: Span


@dataclass(frozen=True)
class Name(Node):
    """A column."""

    name: str


@dataclass(frozen=True)
class Number(Node):
    """A number as written."""

    value: int | float


@dataclass(frozen=True)
class Text(Node):
    """A quoted string."""

    value: str


@dataclass(frozen=True)
class Constant(Node):
    """None, True or False."""

    value: bool | None


@dataclass(frozen=True)
class Dot(Node):
    """``.``: all tabular columns not used otherwise."""


@dataclass(frozen=True)
class Group(Node):
    """A tuple or list of values, ``(1, 2)`` or ``[1, 2]``."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Call(Node):
    """A call of a named function. ``name_span`` is where the function's name stands."""

    function: str
    args: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]
    name_span: Span


@dataclass(frozen=True)
class Unary(Node):
    """``-x``."""

    operator: str
    operand: Node


@dataclass(frozen=True)
class Binary(Node):
    """Two operands of ``* / : **``; ``^`` is read as ``**``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Sum(Node):
    """Several pieces, each with its sign ``"+"`` or ``"-"``."""

    items: tuple[tuple[str, Node], ...]


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Sum):
        return tuple(item for _, item in node.items)
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Unary):
        return (node.operand,)
    if isinstance(node, Group):
        return node.items
    if isinstance(node, Call):
        return (*node.args, *(value for _, value in node.keywords))
    return ()


def height(node: Node) -> int:
    """Number of nodes on the longest way down, without recursion."""
    level, levels = [node], 0
    while level:
        level = [child for parent in level for child in _children(parent)]
        levels += 1
    return levels


def tidied(node: Node) -> Node:
    """The tree with sums inside added sums opened, and repeated pieces of plain sums left out."""
    if not isinstance(node, Sum):
        return node
    items: list[tuple[str, Node]] = []
    for sign, item in node.items:
        inner = tidied(item)
        opened = sign == "+" and isinstance(inner, Sum)
        items += inner.items if opened else [(sign, inner)]  # type: ignore[attr-defined]
    if all(sign == "+" for sign, _ in items):
        items = list({to_text(item): (sign, item) for sign, item in reversed(items)}.values())[::-1]
    return items[0][1] if len(items) == 1 and items[0][0] == "+" else Sum(node.span, tuple(items))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    stack = [node]
    while stack:
        piece = stack.pop()
        yield piece
        stack.extend(reversed(_children(piece)))


_LEVEL = {"*": 2, "/": 2, ":": 3, "**": 5}


def to_text(node: Node, level: int = 0) -> str:
    """The canonical text of a tree; parsing it again gives the same tree but for the spans.

    Examples
    --------
    >>> area = Name((0, 4), "living area")
    >>> to_text(Binary((0, 10), ":", area, Call((5, 8), "C", (Name((7, 8), "z"),), (), (5, 6))))
    '`living area`:C(z)'
    """
    if isinstance(node, Name):
        return quote_name(node.name)
    if isinstance(node, (Number, Constant)):
        return repr(node.value)
    if isinstance(node, Text):
        return repr(node.value)
    if isinstance(node, Dot):
        return "."
    if isinstance(node, Group):
        inside = ", ".join(to_text(item) for item in node.items)
        return f"({inside},)" if len(node.items) == 1 else f"({inside})"
    if isinstance(node, Call):
        inside = ", ".join(
            [to_text(arg) for arg in node.args]
            + [f"{name}={to_text(value)}" for name, value in node.keywords]
        )
        return f"{node.function}({inside})"
    if isinstance(node, Unary):
        written, own = f"{node.operator}{to_text(node.operand, 4)}", 4
    elif isinstance(node, Binary):
        own = _LEVEL[node.operator]
        space = "" if node.operator in (":", "**") else " "
        tight = own + 1
        left = to_text(node.left, tight if node.operator == "**" else own)
        right = to_text(node.right, own if node.operator == "**" else tight)
        written = f"{left}{space}{node.operator}{space}{right}"
    elif isinstance(node, Sum):
        own = 1
        pieces = [f" {sign} {to_text(item, 2)}" for sign, item in node.items]
        written = "".join(pieces)
        written = written[3:] if written.startswith(" + ") else "-" + written[3:]
    else:
        raise TypeError(f"not a node of a formula: {node!r}")
    return f"({written})" if own < level else written
