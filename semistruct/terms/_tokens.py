"""Cutting a formula into tokens, and pointing at a piece of it in an error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from semistruct.exceptions import SpecificationError

__all__ = [
    "MAX_LENGTH",
    "Span",
    "Token",
    "formula_error",
    "is_plain_name",
    "quote_name",
    "tokenize",
]

Span = tuple[int, int]
TokenKind = Literal["name", "quoted", "number", "string", "operator", "end"]

MAX_LENGTH = 200_000  # characters; ten thousand columns written out still fit
_WINDOW = 88  # characters of the formula shown above the caret

_PATTERN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>[^\W\d]\w*)
    | (?P<quoted>`[^`\n]*`)
    | (?P<string>"[^"\\\n]*"|'[^'\\\n]*')
    | (?P<operator>\*\*|[-+*/:^~(),=.\[\]])
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONSTANTS = ("None", "True", "False")

_REFUSED = {
    "`": "a backtick that is not closed; a column name goes between two of them: `living area`.",
    "{": "braces; write arithmetic as I(x + z).",
    "}": "braces; write arithmetic as I(x + z).",
    "%": "'%'; nesting is written a / b.",
    "|": "'|'; a random intercept is written re(group).",
    "<": "a comparison; make it a column of the table first.",
    ">": "a comparison; make it a column of the table first.",
    "!": "'!'; make the condition a column of the table first.",
    "@": "'@'.",
    "\\": "a backslash.",
    "'": "a string that is not closed.",
    '"': "a string that is not closed.",
}


@dataclass(frozen=True)
class Token:
    """One piece of a formula: its kind, its text without quotes, and where it stands."""

    kind: TokenKind
    text: str
    span: Span


def formula_error(text: str, span: Span, message: str) -> SpecificationError:
    """The error that shows the formula with carets under ``text[span[0]:span[1]]``.

    Examples
    --------
    >>> print(formula_error("y ~ x + sx(z)", (8, 10), "unknown function 'sx'."))
    unknown function 'sx'.
        y ~ x + sx(z)
                ^^
    """
    start = min(span[0], len(text))
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    stop = max(min(span[1], line_end), start + 1)
    first = line_start if start - line_start < _WINDOW else start - _WINDOW // 2
    last = min(line_end, first + _WINDOW)
    shown = "".join(c if c.isprintable() else " " for c in text[first:last])
    before = "..." if first > line_start else ""
    after = "..." if last < line_end else ""
    pad = " " * (4 + len(before) + start - first)
    carets = "^" * max(1, min(stop, last) - start)
    return SpecificationError(f"{message}\n    {before}{shown}{after}\n{pad}{carets}")


def is_plain_name(name: str) -> bool:
    """Whether a column name can stand in a formula without backticks.

    Examples
    --------
    >>> is_plain_name("area"), is_plain_name("living area"), is_plain_name("None")
    (True, False, False)
    """
    return (
        _PLAIN.fullmatch(name) is not None and name not in _CONSTANTS and not name.startswith("__")
    )


def quote_name(name: str) -> str:
    """A column name as it is written in a formula: in backticks unless it is a plain name.

    Raises
    ------
    SpecificationError
        If the name cannot be written in a formula at all.

    Examples
    --------
    >>> quote_name("area"), quote_name("living area")
    ('area', '`living area`')
    """
    if not isinstance(name, str):
        raise SpecificationError(
            f"column names in a model must be strings, got {name!r} ({type(name).__name__}); "
            "rename the column."
        )
    if is_plain_name(name):
        return name
    if not name or "`" in name or "\n" in name:
        raise SpecificationError(
            f"the column name {name!r} cannot be written in a formula (empty, or with a backtick "
            "or a line break); rename the column."
        )
    return f"`{name}`"


def _check_name(text: str, name: str, span: Span) -> None:
    if name.startswith("__"):
        raise formula_error(
            text,
            span,
            f"the name {name!r} starts with two underscores and is not allowed in a "
            "formula; a column of that name goes in backticks.",
        )


def tokenize(text: str) -> list[Token]:
    """Cut a formula into tokens, the last of kind ``"end"``.

    Raises
    ------
    SpecificationError
        If the formula is not a string, is too long, or has a character that means nothing in it.

    Examples
    --------
    >>> [token.text for token in tokenize("price ~ s(`living area`)")]
    ['price', '~', 's', '(', 'living area', ')', '']
    """
    if not isinstance(text, str):
        raise SpecificationError(
            f"a formula is a string such as 'price ~ s(area)', got {type(text).__name__}."
        )
    if len(text) > MAX_LENGTH:
        raise SpecificationError(
            f'the formula has {len(text)} characters, more than {MAX_LENGTH}; use cols("gene_*") '
            "to name many columns."
        )
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            character = text[position]
            what = _REFUSED.get(character, f"the character {character!r}.")
            raise formula_error(text, (position, position + 1), f"a formula cannot contain {what}")
        kind, piece, span = match.lastgroup, match.group(), match.span()
        position = match.end()
        if kind == "space":
            continue
        if kind == "name":
            _check_name(text, piece, span)
            if not piece.isidentifier():
                raise formula_error(text, span, f"{piece!r} is not a name; put it in backticks.")
            tokens.append(Token("name", piece, span))
        elif kind == "quoted":
            if not piece[1:-1].strip():
                raise formula_error(text, span, "an empty name in backticks.")
            tokens.append(Token("quoted", piece[1:-1], span))
        elif kind == "string":
            if not piece.isprintable():
                raise formula_error(text, span, "a string with unprintable characters.")
            tokens.append(Token("string", piece[1:-1], span))
        elif kind == "number":
            tokens.append(Token("number", piece, span))
        else:
            tokens.append(Token("operator", piece, span))
    tokens.append(Token("end", "", (len(text), len(text))))
    return tokens
