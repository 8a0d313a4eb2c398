"""The errors and warnings of the package.

Every message says what was got, what is allowed and how to fix it, and quotes the column,
row or term it is about.
"""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning as _SklearnConvergenceWarning

__all__ = [
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "SemistructError",
    "SpecificationError",
    "UnsupportedCombinationError",
]


class SemistructError(Exception):
    """Base class of every error raised on purpose by semistruct."""


class SpecificationError(SemistructError, ValueError):
    """The model asked for makes no sense: a formula, an option, a family name."""


class DataError(SemistructError, ValueError):
    """The data cannot be used with the model: a column, a row, a response, a file."""


class UnsupportedCombinationError(SemistructError):
    """Two valid things that do not go together."""


class ConvergenceWarning(_SklearnConvergenceWarning):
    """An iterative fit stopped before its criterion was met."""


class DataWarning(UserWarning):
    """The data were usable only after a documented repair, for example dropped columns."""
