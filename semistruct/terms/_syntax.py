"""The small parser that turns a formula into a tree. Nothing is evaluated."""

from __future__ import annotations

from functools import lru_cache

from semistruct.terms._nodes import (
    Binary,
    Call,
    Constant,
    Dot,
    Group,
    Name,
    Node,
    Number,
    Sum,
    Text,
    Unary,
    height,
)
from semistruct.terms._tokens import Span, Token, formula_error, tokenize

__all__ = ["parse_sides", "parse_tree"]

MAX_DEPTH = 25  # nested parentheses, calls and powers
MAX_FACTORS = 40  # of one chain a * b * ...
MAX_HEIGHT = 120  # of the tree, so that walking it never exhausts the stack
_MAX_DIGITS = 40


class _Parser:
    """Recursive descent over one token list; precedence as in R: ``** : * / + -``."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    @property
    def at_end(self) -> bool:
        return self.token.kind == "end"

    def at(self, *operators: str) -> bool:
        return self.token.kind == "operator" and self.token.text in operators

    def advance(self) -> Token:
        token = self.token
        self.position += 1
        return token

    def fail(self, message: str, span: Span | None = None) -> Exception:
        return formula_error(self.text, span or self.token.span, message)

    def enter(self, span: Span) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"the formula is nested more than {MAX_DEPTH} levels deep.", span)

    def sum(self) -> Node:
        start = self.token.span[0]
        items: list[tuple[str, Node]] = []
        sign = self.signs()
        items.append((sign or "+", self.product()))
        while self.at("+", "-"):
            sign = self.signs()
            items.append((sign or "+", self.product()))
        if len(items) == 1:
            if sign == "-":
                return Unary((start, items[0][1].span[1]), sign, items[0][1])
            return items[0][1]
        return Sum((start, items[-1][1].span[1]), tuple(items))

    def signs(self) -> str | None:
        """The product of a run of signs, or None when there is none."""
        sign = None
        while self.at("+", "-"):
            minus = self.advance().text == "-"
            sign = "-" if minus != (sign == "-") else "+"
        return sign

    def product(self) -> Node:
        return self.chain(("*", "/"), self.interaction)

    def interaction(self) -> Node:
        return self.chain((":",), self.power)

    def chain(self, operators: tuple[str, ...], operand) -> Node:  # type: ignore[no-untyped-def]
        node = operand()
        length = 1
        while self.at(*operators):
            length += 1
            if length > MAX_FACTORS:
                raise self.fail(f"more than {MAX_FACTORS} factors in one product.")
            operator = self.advance().text
            right = self.signed(operand)
            node = Binary((node.span[0], right.span[1]), operator, node, right)
        return node

    def signed(self, operand) -> Node:  # type: ignore[no-untyped-def]
        start = self.token.span[0]
        sign = self.signs()
        node = operand()
        if sign == "-":
            return Unary((start, node.span[1]), sign, node)
        return node

    def power(self) -> Node:
        base = self.atom()
        if not self.at("**", "^"):
            return base
        self.enter(self.advance().span)
        exponent = self.signed(self.power)
        self.depth -= 1
        return Binary((base.span[0], exponent.span[1]), "**", base, exponent)

    def atom(self) -> Node:
        token = self.token
        if token.kind == "number":
            self.advance()
            return Number(token.span, self.number(token))
        if token.kind == "string":
            self.advance()
            return Text(token.span, token.text)
        if token.kind == "quoted":
            self.advance()
            return self.closed(Name(token.span, token.text))
        if token.kind == "name":
            self.advance()
            if token.text in ("None", "True", "False"):
                values = {"None": None, "True": True, "False": False}
                return Constant(token.span, values[token.text])
            if self.at("("):
                return self.closed(self.call(token))
            return self.closed(Name(token.span, token.text))
        if self.at("."):
            self.advance()
            return self.closed(Dot(token.span))
        if self.at("(", "["):
            return self.closed(self.group())
        if self.at_end:
            raise self.fail("the formula ends too early; something is missing here.")
        raise self.fail(f"{token.text!r} is not expected here; write a column, a number or a term.")

    def closed(self, node: Node) -> Node:
        """Refuse what would reach into ``node``: ``a.b``, ``a(...)``, ``a[...]``, ``a 'b'``."""
        if self.at("."):
            raise self.fail(
                "a dot after a name or a call: a formula has no attributes; a column whose name "
                "has a dot goes in backticks, `bill.length`."
            )
        if self.at("(", "["):
            raise self.fail(f"{self.token.text!r} is not expected here; put + or : between pieces.")
        return node

    def number(self, token: Token) -> int | float:
        if len(token.text) > _MAX_DIGITS:
            raise self.fail("a number with too many digits.", token.span)
        if token.text.isascii() and token.text.isdigit():
            return int(token.text)
        value = float(token.text)
        if value in (float("inf"), float("-inf")):
            raise self.fail("a number that is too large.", token.span)
        return value

    def group(self) -> Node:
        opening = self.advance()
        self.enter(opening.span)
        closing = ")" if opening.text == "(" else "]"
        items: list[Node] = []
        comma = False
        while not self.at(closing):
            items.append(self.sum())
            if not self.at(","):
                break
            self.advance()
            comma = True
        end = self.close(closing, opening).span[1]
        self.depth -= 1
        if opening.text == "(" and not comma:
            if not items:
                raise self.fail("empty parentheses.", (opening.span[0], end))
            return items[0]
        return Group((opening.span[0], end), tuple(items))

    def empty_tuple(self) -> Group | None:
        """``()`` as the value of an option, which is a tuple without entries."""
        following = self.tokens[min(self.position + 1, len(self.tokens) - 1)]
        if not (self.at("(") and following.kind == "operator" and following.text == ")"):
            return None
        opening = self.advance()
        return Group((opening.span[0], self.advance().span[1]), ())

    def close(self, closing: str, opening: Token) -> Token:
        if self.at(closing):
            return self.advance()
        if self.at_end:
            raise self.fail(f"{opening.text!r} is not closed.", opening.span)
        raise self.fail(f"{self.token.text!r} is not expected here; expected {closing!r} or ','.")

    def call(self, name: Token) -> Call:
        opening = self.advance()
        self.enter(name.span)
        args: list[Node] = []
        keywords: list[tuple[str, Node]] = []
        while not self.at(")"):
            following = self.tokens[min(self.position + 1, len(self.tokens) - 1)]
            if (
                self.token.kind == "name"
                and following.text == "="
                and (following.kind == "operator")
            ):
                keyword = self.advance()
                self.advance()
                if keyword.text in dict(keywords):
                    raise self.fail(f"{keyword.text}= is given twice.", keyword.span)
                keywords.append((keyword.text, self.empty_tuple() or self.sum()))
            elif keywords:
                raise self.fail("an argument without a name after one with a name.")
            else:
                args.append(self.sum())
            if not self.at(","):
                break
            self.advance()
        end = self.close(")", opening).span[1]
        self.depth -= 1
        return Call((name.span[0], end), name.text, tuple(args), tuple(keywords), name.span)


def parse_sides(text: str) -> tuple[Node | None, Node]:
    """The trees left and right of ``~``; the left one is None when there is none.

    Raises
    ------
    SpecificationError
        If the text is not a formula; the message points at the offending piece.

    Examples
    --------
    >>> from semistruct.terms._nodes import to_text
    >>> response, predictor = parse_sides("price ~ area + s(age)")
    >>> to_text(response), to_text(predictor)
    ('price', 'area + s(age)')
    """
    if not isinstance(text, str):
        tokenize(text)  # says what a formula is
    return _sides(text)


# A fit asks for the tree of its formula a dozen times.
@lru_cache(maxsize=256)
def _sides(text: str) -> tuple[Node | None, Node]:
    parser = _Parser(text, tokenize(text))
    if parser.at_end:
        raise formula_error(text, (0, 1), "the formula is empty; an intercept alone is '1'.")
    response = None
    if parser.at("~"):
        parser.advance()
        predictor = parser.sum()
    else:
        predictor = parser.sum()
        if parser.at("~"):
            parser.advance()
            response, predictor = predictor, parser.sum()
    if parser.at("~"):
        raise parser.fail("a formula has at most one '~'.")
    if not parser.at_end:
        raise parser.fail(
            f"{parser.token.text!r} is not expected here; put + or : between two pieces."
        )
    for side in (response, predictor):
        if side is not None and height(side) > MAX_HEIGHT:
            raise formula_error(text, side.span, "the formula is nested too deeply.")
    return response, predictor


def parse_tree(text: str) -> Node:
    """The tree of a predictor without response.

    Examples
    --------
    >>> from semistruct.terms._nodes import to_text
    >>> to_text(parse_tree("log( x+1 )*(a  +b)^2"))
    'log(x + 1) * (a + b)**2'
    """
    response, predictor = parse_sides(text)
    if response is not None:
        raise formula_error(text, response.span, "a response is not allowed here.")
    return predictor
