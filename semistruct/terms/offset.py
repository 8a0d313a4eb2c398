"""Offsets: known pieces of a predictor, with coefficient one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError
from semistruct.terms._nodes import to_text
from semistruct.terms._syntax import parse_tree
from semistruct.terms.reading import numeric_column
from semistruct.terms.term_list import Addend, Role
from semistruct.terms.whitelist import ELEMENTWISE, check_arithmetic, column_names, evaluate

__all__ = ["Offset", "offset"]


@dataclass(frozen=True, repr=False)
class Offset(Addend):
    """A known piece of the predictor, such as ``log(exposure)``.

    Parameters
    ----------
    expression : str
        Arithmetic of columns and numbers with the functions of
        :data:`~semistruct.terms.whitelist.ELEMENTWISE`, in the syntax of a formula.

    Raises
    ------
    SpecificationError
        If the expression has anything else in it.
    """

    expression: str

    role: ClassVar[Role] = "offset"

    def __post_init__(self) -> None:
        tree = parse_tree(self.expression)
        check_arithmetic(self.expression, tree, ELEMENTWISE, stateful=False)
        object.__setattr__(self, "expression", to_text(tree))

    @property
    def label(self) -> str:  # type: ignore[override]
        """``"offset(log(exposure))"``."""
        return f"offset({self.expression})"

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns that the expression reads."""
        return column_names(parse_tree(self.expression))

    def values(self, frame: pd.DataFrame) -> np.ndarray:
        """The offset of each row, ``(n,)``.

        Raises
        ------
        DataError
            If a column is missing or not numeric, or if a value is not finite.
        """
        columns = {name: numeric_column(frame, name, self.label) for name in self.variables}
        with np.errstate(all="ignore"):
            result = evaluate(parse_tree(self.expression), columns, {})
        values = np.array(np.broadcast_to(result, len(frame)), dtype=float)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"{self.label} is not finite in {bad.size} of {len(values)} rows, the first is row "
                f"{bad[0]}; the expression must have a finite value in every row."
            )
        return values

    def __repr__(self) -> str:
        return self.label


def offset(expression: str) -> Offset:
    """A known piece of the predictor with coefficient one: a column or arithmetic of columns.

    Examples
    --------
    >>> offset("log(exposure)").variables
    ('exposure',)
    >>> offset("log( a)+2*b")
    offset(log(a) + 2 * b)
    """
    return Offset(expression)
