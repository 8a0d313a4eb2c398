"""From a formula to a :class:`TermList`: a small parser that evaluates nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from semistruct.exceptions import SpecificationError
from semistruct.terms._nodes import Call, Name, Node, Number, Sum, Text, Unary, to_text, walk
from semistruct.terms._syntax import parse_sides
from semistruct.terms._tokens import formula_error, is_plain_name
from semistruct.terms.algebra import expand
from semistruct.terms.base import Term
from semistruct.terms.coding import FUNCTIONS
from semistruct.terms.cumulative import cumulative
from semistruct.terms.deep import ONE_COLUMN, DeepTerm
from semistruct.terms.deep import encoder as encoder_term
from semistruct.terms.marks import Cluster, Strata
from semistruct.terms.offset import Offset
from semistruct.terms.parametric import Parametric, linear
from semistruct.terms.ridge import ridge
from semistruct.terms.selectors import pattern_of, placeholder
from semistruct.terms.smooths import re, s, te, ti
from semistruct.terms.term_list import Addend, TermList
from semistruct.terms.whitelist import ELEMENTWISE, check_arithmetic, literal, unknown_function

__all__ = ["ParsedFormula", "ResponseCall", "parse_formula"]

SMOOTH_FUNCTIONS: dict[str, Callable[..., Term]] = {
    "s": s,
    "te": te,
    "ti": ti,
    "re": re,
    "ridge": ridge,
    "cumulative": cumulative,
}
DEEP_FUNCTIONS: tuple[str, ...] = (*ONE_COLUMN, "mlp", "deep")
MARK_FUNCTIONS: tuple[str, ...] = ("offset", "strata", "cluster")
RESPONSE_FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Surv": (("time", "event"), ("entry", "id")),
    "Interval": (("lower", "upper"), ()),
}


@dataclass(frozen=True)
class ResponseCall:
    """A response of several columns: ``Surv(time, event, entry=start)``.

    Attributes
    ----------
    name : str
        ``"Surv"`` or ``"Interval"``.
    columns : tuple of str
        The columns given by position.
    keywords : tuple of (str, str)
        The columns given by name.
    """

    name: str
    columns: tuple[str, ...]
    keywords: tuple[tuple[str, str], ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Every column that the response reads."""
        return tuple(dict.fromkeys((*self.columns, *(name for _, name in self.keywords))))

    def __str__(self) -> str:
        named = [f"{key}={name}" for key, name in self.keywords]
        return f"{self.name}({', '.join([*self.columns, *named])})"


@dataclass(frozen=True)
class ParsedFormula:
    """A formula taken apart.

    Attributes
    ----------
    response : str, ResponseCall or None
        The left side; None where there is none.
    terms : TermList
        The right side.
    text : str
        The formula as it was written.
    """

    response: str | ResponseCall | None
    terms: TermList
    text: str

    @property
    def response_variables(self) -> tuple[str, ...]:
        """Columns of the response."""
        if self.response is None:
            return ()
        return (self.response,) if isinstance(self.response, str) else self.response.variables


def parse_formula(text: str, *, encoders: Collection[str] = ()) -> ParsedFormula:
    """Parse ``"price ~ bedrooms + s(area) + C(zipcode) + cnn(frontal)"``.

    Parameters
    ----------
    text : str
        A response, ``~`` and a predictor, or a predictor alone. A predictor is a sum of
        parametric pieces (:class:`Parametric`), smooths ``s() te() ti() re()``, deep terms
        ``cnn() mlp() deep()`` and the like, the user's encoders, ``offset()``, ``strata()`` and
        ``cluster()``. ``- 1`` or ``+ 0`` removes the intercept. Column names that are not plain
        names go in backticks.
    encoders : collection of str
        Names of the user's own encoders, which can be called like ``cnn``.

    Raises
    ------
    SpecificationError
        If the text is not a formula or uses anything beyond this vocabulary; the message shows
        the formula with carets under the offending piece.

    Notes
    -----
    Formulas are also read from saved files, so nothing in them is ever executed: the text becomes
    a tree, the tree is checked against literal tables of functions, and arguments are literals.

    Examples
    --------
    >>> parsed = parse_formula("price ~ bedrooms + cnn(frontal, latent_dim=8) - 1")
    >>> parsed.response, parsed.terms
    ('price', bedrooms + cnn(frontal, latent_dim=8) - 1)
    >>> parse_formula("price ~ lgo(area)")
    Traceback (most recent call last):
    ...
    semistruct.exceptions.SpecificationError: unknown function 'lgo'; did you mean 'log'? ...
    """
    left, right = parse_sides(text)
    reader = _Reader(text, tuple(encoders))
    response = None if left is None else reader.response(left)
    parsed = ParsedFormula(response, TermList(), text)
    read = parsed.response_variables
    explained = response.columns if isinstance(response, ResponseCall) else read
    return replace(parsed, terms=reader.predictor(right, explained, read))


class _Reader:
    """One formula being read: its text, for errors, and the functions it may call."""

    def __init__(self, text: str, encoders: tuple[str, ...]) -> None:
        self.text = text
        taken = {*SMOOTH_FUNCTIONS, *MARK_FUNCTIONS, *FUNCTIONS, *RESPONSE_FUNCTIONS, "cols"}
        for name in encoders:
            if not isinstance(name, str) or not is_plain_name(name) or name in taken:
                raise SpecificationError(
                    f"an encoder cannot be called {name!r} in a formula; use a plain name that is "
                    f"none of {', '.join(sorted(taken))}."
                )
        self.deep = tuple(dict.fromkeys((*DEEP_FUNCTIONS, *encoders)))
        self.known = (*FUNCTIONS, *SMOOTH_FUNCTIONS, *self.deep, *MARK_FUNCTIONS, "cols")

    def fail(self, node: Node, message: str) -> SpecificationError:
        return formula_error(self.text, node.span, message)

    def is_special(self, node: Node) -> bool:
        return isinstance(node, Call) and (
            node.function in SMOOTH_FUNCTIONS
            or node.function in self.deep
            or node.function in MARK_FUNCTIONS
        )

    # The left side

    def response(self, node: Node) -> str | ResponseCall:
        if isinstance(node, Name):
            return node.name
        if isinstance(node, Call) and node.function in RESPONSE_FUNCTIONS:
            return self.response_call(node)
        if isinstance(node, Call) and node.function in ELEMENTWISE:
            raise self.fail(
                node,
                f"the response cannot be transformed in the formula ({to_text(node)}). A log "
                "response is family='lognormal', whose predictions are on the original scale; "
                "otherwise transform the column first.",
            )
        raise self.fail(
            node,
            "the response must be one column, Surv(time, event) or Interval(lower, upper), got "
            f"{to_text(node)}.",
        )

    def response_call(self, node: Call) -> ResponseCall:
        columns, options = RESPONSE_FUNCTIONS[node.function]
        usage = f"{node.function}({', '.join((*columns, *(f'{name}=...' for name in options)))})"
        if len(node.args) != len(columns):
            extra = ""
            if node.function == "Surv" and len(node.args) == 3:
                start, stop, event = map(to_text, node.args)
                extra = f" Delayed entry is written Surv({stop}, {event}, entry={start})."
            raise self.fail(
                node,
                f"{usage} takes {len(columns)} columns by position, got {len(node.args)}." + extra,
            )
        for name, value in node.keywords:
            if name not in options:
                raise self.fail(value, f"{node.function}() has no option {name!r}; it is {usage}.")
        return ResponseCall(
            node.function,
            tuple(self.column(arg, node) for arg in node.args),
            tuple((name, self.column(value, node)) for name, value in node.keywords),
        )

    def column(self, node: Node, call: Call) -> str:
        if isinstance(node, Name):
            return node.name
        hint = "make it a column of the table first."
        if isinstance(node, Text):
            hint = f"column names have no quotes here: {call.function}({node.value})."
        raise self.fail(node, f"{call.function}() takes columns, got {to_text(node)}; {hint}")

    # The right side

    def predictor(
        self, node: Node, explained: tuple[str, ...], response: tuple[str, ...]
    ) -> TermList:
        self.check_response(node, explained)
        intercept = True
        addends: list[Addend] = []
        parametric: list[tuple[str, Node]] = []
        for sign, piece in self.pieces("+", node):
            if isinstance(piece, Number):
                if piece.value not in (0, 1):
                    raise self.fail(
                        piece,
                        f"{to_text(piece)} is not a term; 1 and 0 stand for the intercept, a known "
                        "constant goes in offset(...).",
                    )
                intercept = (piece.value == 1) == (sign == "+")
            elif self.is_special(piece):
                if sign == "-":
                    raise self.fail(
                        piece,
                        f"{to_text(piece)} cannot be subtracted; leave it out, or add "
                        "offset(-x) for a known piece.",
                    )
                addends.append(self.special(piece))  # type: ignore[arg-type]
            else:
                self.check_parametric(piece)
                parametric.append((sign, piece))
        if parametric:
            tree = Sum(node.span, tuple(parametric))
            expand(self.text, placeholder(self.text, tree), self.known)
            addends.insert(0, Parametric(to_text(tree), exclude=response))
        return TermList.of(*addends, intercept=intercept)

    def pieces(self, sign: str, node: Node) -> list[tuple[str, Node]]:
        """The signed pieces of a sum, sums in parentheses included."""
        if isinstance(node, Unary):
            return self.pieces("-" if sign == "+" else "+", node.operand)
        if not isinstance(node, Sum):
            return [(sign, node)]
        found = []
        for own, item in node.items:
            if sign == "-" and own == "-":
                raise self.fail(item, "a minus inside a subtracted sum; write it without.")
            found += self.pieces("-" if "-" in (sign, own) else "+", item)
        return found

    def check_parametric(self, node: Node) -> None:
        for piece in walk(node):
            if isinstance(piece, Call) and self.is_special(piece):
                inside = ", ".join(to_text(arg) for arg in piece.args)
                if piece.function in SMOOTH_FUNCTIONS:
                    hint = f"a curve that varies with z is written {piece.function}({inside}, by=z)"
                elif piece.function in self.deep:
                    hint = (
                        f"a deep term that varies with z is written "
                        f"{piece.function}({inside}, by=s(z))"
                    )
                else:
                    hint = f"add it with + as a piece of its own: + {to_text(piece)}"
                raise self.fail(
                    piece, f"{to_text(piece)} cannot stand inside another piece; {hint}."
                )
            if isinstance(piece, Call) and piece.function in RESPONSE_FUNCTIONS:
                raise self.fail(piece, f"{piece.function}() is a response and stands before '~'.")

    def check_response(self, node: Node, response: tuple[str, ...]) -> None:
        for piece in walk(node):
            if isinstance(piece, Name) and piece.name in response:
                raise self.fail(
                    piece,
                    f"{piece.name!r} is the response and cannot explain itself; leave it "
                    "out on the right side of '~'.",
                )

    def special(self, call: Call) -> Addend:
        if call.function in SMOOTH_FUNCTIONS:
            return self.smooth(call)
        if call.function in self.deep:
            return self.deep_term(call)
        if call.function == "offset":
            if len(call.args) != 1 or call.keywords:
                raise self.fail(call, "offset() takes one expression, as in offset(log(exposure)).")
            check_arithmetic(self.text, call.args[0], ELEMENTWISE, stateful=False)
            return Offset(to_text(call.args[0]))
        if call.keywords:
            raise self.fail(call, f"{call.function}() has no options, only columns.")
        columns = tuple(self.column(arg, call) for arg in call.args)
        if call.function == "strata" and columns:
            return Strata(columns)
        if call.function == "cluster" and len(columns) == 1:
            return Cluster(columns[0])
        wanted = "one column" if call.function == "cluster" else "one or more columns"
        raise self.fail(call, f"{call.function}() takes {wanted}.")

    def smooth(self, call: Call) -> Term:
        constructor = SMOOTH_FUNCTIONS[call.function]
        for arg in call.args:
            if isinstance(arg, Call) and arg.function in FUNCTIONS:
                raise self.fail(
                    arg,
                    f"{call.function}() takes columns; make {to_text(arg)} a column of the "
                    "table first.",
                )
        columns = [self.column(arg, call) for arg in call.args]
        allowed = [
            name
            for name, parameter in inspect.signature(constructor).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        options: dict[str, Any] = {}
        for name, value in call.keywords:
            if name not in allowed:
                close = get_close_matches(name, allowed, n=1, cutoff=0.4)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise self.fail(
                    value,
                    f"{call.function}() has no option {name!r}{hint} It has {', '.join(allowed)}.",
                )
            options[name] = (
                self.by_column(call, value)
                if name == "by"
                else literal(self.text, value, f"{name}= of {call.function}()")
            )
        try:
            return constructor(*columns, **options)
        except (SpecificationError, TypeError, ValueError, OverflowError) as error:
            raise self.fail(call, str(error)) from error

    def by_column(self, call: Call, node: Node) -> str:
        if isinstance(node, Name):
            return node.name
        if isinstance(node, Text) and node.value:
            return node.value
        raise self.fail(
            node,
            f"by= of {call.function}() takes one column, got {to_text(node)}; only deep "
            "terms vary with a smooth.",
        )

    def deep_term(self, call: Call) -> DeepTerm:
        columns: list[str] = []
        selectors: list[str] = []
        for arg in call.args:
            if isinstance(arg, Call) and arg.function == "cols":
                selectors.append(pattern_of(self.text, arg))
            else:
                columns.append(self.column(arg, call))
        options: dict[str, Any] = {}
        by: Term | None = None
        for name, value in call.keywords:
            if name == "by":
                by = self.by_term(call, value)
            else:
                options[name] = literal(self.text, value, f"{name}= of {call.function}()")
        if call.function in ONE_COLUMN and len(columns) + len(selectors) > 1:
            inside, what = ", ".join(map(to_text, call.args)), "column"
            if call.function == "cnn":
                what = "image"
            raise self.fail(
                call, f"{call.function}() reads one {what}; for several write deep({inside})."
            )
        try:
            plain = encoder_term(call.function, *(columns or ["-"]), **options)
            return replace(plain, variables=tuple(columns), by=by, selectors=tuple(selectors))
        except (SpecificationError, TypeError) as error:
            raise self.fail(call, str(error)) from error

    def by_term(self, call: Call, node: Node) -> Term:
        if isinstance(node, Call) and node.function in SMOOTH_FUNCTIONS:
            return self.smooth(node)
        if isinstance(node, Name):
            return linear(node.name)
        if isinstance(node, Call) and node.function not in self.known:
            raise unknown_function(self.text, node, SMOOTH_FUNCTIONS)
        raise self.fail(
            node,
            f"by= of {call.function}() takes a smooth such as s(tend), or a column, got "
            f"{to_text(node)}.",
        )
