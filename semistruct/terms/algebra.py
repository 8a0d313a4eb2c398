"""The algebra of parametric pieces: ``a*b``, ``a:b``, ``a/b``, ``(a + b)**2``, as in R."""

from __future__ import annotations

from semistruct.terms._nodes import Binary, Group, Name, Node, Number, Sum, Text, Unary, to_text
from semistruct.terms._tokens import formula_error
from semistruct.terms.whitelist import check_factor

__all__ = ["Product", "Products", "expand"]

Product = tuple[Node, ...]  # factors multiplied with each other: columns or calls
Products = dict[frozenset[str], Product]  # by the texts of the factors; insertion order counts

MAX_PRODUCTS = 20_000
_MAX_POWER = 10


def expand(text: str, node: Node, known: tuple[str, ...]) -> Products:
    """Write a piece as a sum of products of factors, each product once.

    Parameters
    ----------
    text : str
        The formula, for errors.
    node : Node
        The piece, without ``.`` and ``cols()``.
    known : tuple of str
        Names of functions to suggest for a mistyped one.

    Raises
    ------
    SpecificationError
        If a factor is not allowed, or if the sum would have more than 20,000 products.

    Examples
    --------
    >>> from semistruct.terms._syntax import parse_tree
    >>> products = expand("", parse_tree("(a + b)**2 + c/d - b"), ())
    >>> [":".join(to_text(factor) for factor in product) for product in products.values()]
    ['a', 'a:b', 'c', 'c:d']
    """
    if isinstance(node, Sum):
        total: Products = {}
        for sign, item in node.items:
            products = expand(text, item, known)
            if sign == "+":
                total.update({key: p for key, p in products.items() if key not in total})
            else:
                total = {key: p for key, p in total.items() if key not in products}
        return total
    if isinstance(node, Binary) and node.operator == "**":
        return _power(text, node, known)
    if isinstance(node, Binary):
        left = expand(text, node.left, known)
        right = expand(text, node.right, known)
        if node.operator == "*":
            return left | right | _cross(text, node, left, right)
        if node.operator == ":":
            return _cross(text, node, left, right)
        everything: Products = {}
        factors = {to_text(factor): factor for product in left.values() for factor in product}
        everything[frozenset(factors)] = tuple(factors.values())
        return left | _cross(text, node, everything, right)
    if isinstance(node, (Number, Text, Unary, Group)):
        raise formula_error(
            text,
            node.span,
            f"{to_text(node)} is not a term. 1 and 0 stand for the intercept, alone in the sum; "
            "arithmetic goes in I(...), a known multiple of a column in offset(...).",
        )
    check_factor(text, node, known)
    return {frozenset([to_text(node)]): (node,)}


def _cross(text: str, node: Node, left: Products, right: Products) -> Products:
    if len(left) * len(right) > MAX_PRODUCTS:
        raise formula_error(
            text,
            node.span,
            f"this piece has more than {MAX_PRODUCTS} interactions; name the ones you mean.",
        )
    crossed: Products = {}
    for key, product in left.items():
        for other_key, other in right.items():
            both = key | other_key
            if both not in crossed:
                extra = tuple(factor for factor in other if to_text(factor) not in key)
                crossed[both] = product + extra
    return crossed


def _power(text: str, node: Binary, known: tuple[str, ...]) -> Products:
    exponent = node.right
    if not (
        isinstance(exponent, Number)
        and isinstance(exponent.value, int)
        and 1 <= exponent.value <= _MAX_POWER
    ):
        raise formula_error(
            text,
            exponent.span,
            f"the power of a term must be a whole number from 1 to "
            f"{_MAX_POWER}; it means interactions up to that order. For a squared column write "
            "I(x**2) or poly(x, 2).",
        )
    base = expand(text, node.left, known)
    if exponent.value > 1 and isinstance(node.left, Name):
        name = to_text(node.left)
        raise formula_error(
            text,
            node.span,
            f"{name}**{exponent.value} means interactions of {name} with itself, "
            f"that is {name}; for a power of the column write I({name}**{exponent.value}) or "
            f"poly({name}, {exponent.value}).",
        )
    total = base
    for _ in range(exponent.value - 1):
        total = total | _cross(text, node, total, base)
    return total
