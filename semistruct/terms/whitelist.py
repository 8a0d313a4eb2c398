"""The functions that may stand in a parametric piece or an offset, and their evaluation.

This literal table is the whole vocabulary. A formula is a tree that is checked against it and then
walked; no string is ever handed to an interpreter.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from formulaic.transforms import poly, scale

from semistruct.exceptions import DataError
from semistruct.terms._nodes import (
    Binary,
    Call,
    Constant,
    Group,
    Name,
    Node,
    Number,
    Sum,
    Text,
    Unary,
    to_text,
    walk,
)
from semistruct.terms._tokens import formula_error

__all__ = [
    "ELEMENTWISE",
    "STATEFUL",
    "check_arithmetic",
    "check_factor",
    "column_names",
    "evaluate",
    "literal",
    "poly_options",
    "unknown_function",
]

ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "I": lambda x: x,
    "abs": np.abs,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sqrt": np.sqrt,
}

STATEFUL: dict[str, str] = {  # name -> how it is called; learned on the training rows
    "center": "center(x)",
    "scale": "scale(x)",
    "poly": "poly(x, degree) or poly(x, degree, raw=True)",
}

_MAX_EXPONENT = 10
_MAX_DEGREE = 20
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
}


def unknown_function(text: str, call: Call, known: Iterable[str], note: str = "") -> Exception:
    """The error for a function that is not in the vocabulary, with the closest known name."""
    names = sorted(set(known), key=str.lower)
    close = difflib.get_close_matches(call.function, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return formula_error(
        text,
        call.name_span,
        f"unknown function {call.function!r}{hint} Known here: {', '.join(names)}.{note}",
    )


def literal(text: str, node: Node, what: str) -> Any:
    """The value of a literal argument: a number, a string, None, True, False, or a tuple of them.

    Raises
    ------
    SpecificationError
        If the argument is anything else.
    """
    if isinstance(node, (Number, Text, Constant)):
        return node.value
    if isinstance(node, Unary) and isinstance(node.operand, Number):
        return -node.operand.value
    if isinstance(node, Group):
        return tuple(literal(text, item, what) for item in node.items)
    raise formula_error(
        text,
        node.span,
        f"{what} must be a number, a string in quotes, None, True, False or a tuple of these, "
        f"got {to_text(node)}.",
    )


def column_names(node: Node) -> tuple[str, ...]:
    """The columns that a piece reads, each once, in order."""
    return tuple(dict.fromkeys(piece.name for piece in walk(node) if isinstance(piece, Name)))


def check_factor(text: str, node: Node, known: Iterable[str]) -> None:
    """Check one factor of a parametric piece: a column or a call of a whitelisted function.

    Raises
    ------
    SpecificationError
        With a caret under what is not allowed.
    """
    if isinstance(node, Name):
        return
    if not isinstance(node, Call):
        raise formula_error(
            text,
            node.span,
            f"{to_text(node)} is not a term; write a column, or arithmetic inside I(...).",
        )
    if node.function == "C":
        _check_categorical(text, node)
    elif node.function == "poly":
        _check_poly(text, node)
    elif node.function in ELEMENTWISE or node.function in STATEFUL:
        check_arithmetic(text, node, known, stateful=True)
    else:
        raise unknown_function(text, node, known)


def check_arithmetic(text: str, node: Node, known: Iterable[str], *, stateful: bool) -> None:
    """Check an arithmetic expression of columns, numbers and whitelisted functions of one value."""
    if isinstance(node, Name) or (isinstance(node, Number) and not isinstance(node.value, bool)):
        return
    if isinstance(node, Unary):
        check_arithmetic(text, node.operand, known, stateful=stateful)
    elif isinstance(node, Sum):
        for _, item in node.items:
            check_arithmetic(text, item, known, stateful=stateful)
    elif isinstance(node, Binary) and node.operator in _OPERATORS:
        check_arithmetic(text, node.left, known, stateful=stateful)
        if node.operator == "**":
            _check_exponent(text, node.right)
        else:
            check_arithmetic(text, node.right, known, stateful=stateful)
    elif isinstance(node, Call):
        _check_arithmetic_call(text, node, known, stateful)
    else:
        raise formula_error(
            text,
            node.span,
            f"{to_text(node)} is not allowed here; allowed are columns, numbers, + - * / ** and "
            f"the functions {', '.join(ELEMENTWISE)}.",
        )


def _check_arithmetic_call(text: str, node: Call, known: Iterable[str], stateful: bool) -> None:
    name = node.function
    if name in ("C", "poly"):
        raise formula_error(
            text,
            node.span,
            f"{name}() gives several columns and cannot stand inside another "
            "function; use it as a term of its own.",
        )
    if name in STATEFUL and not stateful:
        raise formula_error(
            text,
            node.span,
            f"{name}() learns from the training rows, which an offset may not; "
            "compute the column first.",
        )
    if name not in ELEMENTWISE and name not in STATEFUL:
        raise unknown_function(text, node, known)
    if len(node.args) != 1 or node.keywords:
        raise formula_error(text, node.span, f"{name}() takes one expression, as in {name}(x).")
    check_arithmetic(text, node.args[0], known, stateful=stateful)


def _check_exponent(text: str, node: Node) -> None:
    value = node.operand if isinstance(node, Unary) else node
    if not isinstance(value, Number) or abs(value.value) > _MAX_EXPONENT:
        raise formula_error(
            text,
            node.span,
            f"an exponent must be a number of at most {_MAX_EXPONENT}, got {to_text(node)}.",
        )


def _check_categorical(text: str, node: Call) -> None:
    if len(node.args) != 1 or not isinstance(node.args[0], Name):
        raise formula_error(
            text, node.span, "C() takes one column, as in C(zipcode) or C(zipcode, ref='98103')."
        )
    for keyword, value in node.keywords:
        if keyword != "ref":
            raise formula_error(
                text,
                value.span,
                f"C() has no option {keyword!r}; the only one is ref=, the reference level.",
            )
        if isinstance(literal(text, value, "ref="), tuple):
            raise formula_error(text, value.span, "ref= must be one level.")


def _check_poly(text: str, node: Call) -> None:
    usage = f"poly() is called as {STATEFUL['poly']}"
    keywords = dict(node.keywords)
    positional = dict(zip(("degree", "raw"), node.args[1:], strict=False))
    options = {**positional, **keywords}
    if not node.args or len(node.args) > 3 or set(positional) & set(keywords):
        raise formula_error(text, node.span, usage + ".")
    unknown = set(options) - {"degree", "raw"}
    if unknown or "degree" not in options:
        raise formula_error(text, node.span, usage + ".")
    check_arithmetic(text, node.args[0], (*ELEMENTWISE, *STATEFUL), stateful=True)
    degree = literal(text, options["degree"], "the degree of poly()")
    if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= _MAX_DEGREE:
        raise formula_error(
            text,
            options["degree"].span,
            f"the degree of poly() must be a whole number from 1 to {_MAX_DEGREE}, got {degree!r}.",
        )
    if "raw" in options and not isinstance(literal(text, options["raw"], "raw="), bool):
        raise formula_error(text, options["raw"].span, "raw= must be True or False.")


def poly_options(node: Call) -> tuple[int, bool]:
    """Degree and rawness of a checked call of ``poly``."""
    options = dict(zip(("degree", "raw"), node.args[1:], strict=False)) | dict(node.keywords)
    raw = "raw" in options and bool(literal("", options["raw"], "raw="))
    return int(literal("", options["degree"], "degree")), raw


def evaluate(node: Node, columns: Mapping[str, np.ndarray], state: dict[str, Any]) -> Any:
    """The values of a checked arithmetic expression, row by row.

    Parameters
    ----------
    node : Node
        A tree that passed :func:`check_factor` or :func:`check_arithmetic`.
    columns : mapping from str to (n,) array
        float64 values of the columns it reads.
    state : dict
        What ``center``, ``scale`` and ``poly`` learned, by the text of the call. Filled when it
        lacks an entry, replayed otherwise, so that a row has the same value in any batch.

    Returns
    -------
    (n,) array, or (n, degree) for ``poly``, or a float where there is no column
    """
    if isinstance(node, Name):
        return columns[node.name]
    if isinstance(node, Number):
        return float(node.value)
    if isinstance(node, Unary):
        return -evaluate(node.operand, columns, state)
    if isinstance(node, Sum):
        total: Any = 0.0
        for sign, item in node.items:
            value = evaluate(item, columns, state)
            total = total + value if sign == "+" else total - value
        return total
    if isinstance(node, Binary):
        left = evaluate(node.left, columns, state)
        return _OPERATORS[node.operator](left, evaluate(node.right, columns, state))
    if not isinstance(node, Call):
        raise TypeError(f"not an arithmetic expression: {node!r}")
    x = evaluate(node.args[0], columns, state)
    if node.function in ELEMENTWISE:
        return ELEMENTWISE[node.function](x)
    own = state.setdefault(to_text(node), {})
    if node.function == "poly":
        degree, raw = poly_options(node)
        if not own and not raw and degree >= len(np.unique(x)):
            raise DataError(
                f"{to_text(node)} needs more than {degree} distinct values, the column has "
                f"{len(np.unique(x))}; lower the degree."
            )
        return np.asarray(poly(x, degree, raw=raw, _state=own))
    return scale(x, scale=node.function == "scale", _state=own)
