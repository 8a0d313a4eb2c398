"""Column selectors: ``.`` and ``cols("gene_*")``, replaced by names once the table is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from semistruct.exceptions import DataError
from semistruct.terms._nodes import Binary, Call, Dot, Name, Node, Sum, Text, Unary, to_text, walk
from semistruct.terms._tokens import formula_error

__all__ = ["has_selector", "matching_columns", "placeholder", "substitute"]


def _is_cols(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "cols"


def has_selector(node: Node) -> bool:
    """Whether the piece has a ``.`` or a ``cols()`` in it."""
    return any(isinstance(piece, Dot) or _is_cols(piece) for piece in walk(node))


def pattern_of(text: str, node: Call) -> str:
    """The pattern of a call of ``cols``; an error when it is called otherwise."""
    if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], Text):
        return node.args[0].value
    raise formula_error(
        text, node.span, 'cols() takes one pattern in quotes, as in cols("gene_*").'
    )


def matching_columns(pattern: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns whose names match a shell pattern (``*``, ``?``, ``[ab]``), in their order.

    Raises
    ------
    DataError
        If none does.

    Examples
    --------
    >>> matching_columns("gene_*", ["age", "gene_1", "gene_2"])
    ('gene_1', 'gene_2')
    """
    found = tuple(name for name in columns if fnmatchcase(str(name), pattern))
    if not found:
        shown = ", ".join(map(repr, columns[:8]))
        raise DataError(
            f"cols({pattern!r}) matches no tabular column; the columns are {shown}"
            f"{', ...' if len(columns) > 8 else ''}."
        )
    return found


def placeholder(text: str, node: Node) -> Node:
    """The piece with a made-up column in place of each selector, to check it before data come."""
    return _mapped(text, node, lambda piece: Name(piece.span, to_text(piece).replace("`", "")))


def substitute(text: str, node: Node, columns: Sequence[str], rest: Sequence[str]) -> Node:
    """The piece with names in place of its selectors.

    Parameters
    ----------
    text : str
        The formula, for errors.
    node : Node
        The piece.
    columns : sequence of str
        The tabular columns, among which ``cols()`` chooses.
    rest : sequence of str
        The tabular columns not used otherwise, for which ``.`` stands.
    """

    def names(piece: Node) -> Node:
        if isinstance(piece, Call):
            chosen = matching_columns(pattern_of(text, piece), columns)
        else:
            chosen = tuple(rest)
        if not chosen:
            raise DataError(
                "'.' stands for all tabular columns that the formula does not use otherwise, and "
                f"there is none; the columns are {', '.join(map(repr, columns)) or 'none'}."
            )
        if len(chosen) == 1:
            return Name(piece.span, chosen[0])
        return Sum(piece.span, tuple(("+", Name(piece.span, name)) for name in chosen))

    return _mapped(text, node, names)


def _mapped(text, node, change):  # type: ignore[no-untyped-def]
    if isinstance(node, Dot):
        return change(node)
    if isinstance(node, Call):
        if _is_cols(node):
            pattern_of(text, node)
            return change(node)
        for piece in walk(node):
            if isinstance(piece, Dot) or _is_cols(piece):
                raise formula_error(
                    text,
                    piece.span,
                    f"{to_text(piece)} cannot stand inside {node.function}(); "
                    "it stands for several columns.",
                )
        return node
    if isinstance(node, Sum):
        items = tuple((sign, _mapped(text, item, change)) for sign, item in node.items)
        return replace(node, items=items)
    if isinstance(node, Binary):
        return replace(
            node, left=_mapped(text, node.left, change), right=_mapped(text, node.right, change)
        )
    if isinstance(node, Unary):
        return replace(node, operand=_mapped(text, node.operand, change))
    return node
