"""Linear columns whose coefficients share one ridge penalty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Basis, DesignBlock, Term, TermKind
from semistruct.terms.blocks import DenseBlock
from semistruct.terms.reading import numeric_columns
from semistruct.terms.smooth_basis import frozen_array

__all__ = ["Ridge", "RidgeBasis", "ridge"]


@dataclass(frozen=True)
class Ridge(Term):
    """Numeric columns, linear, with ``theta / 2 * sum_j (s_j beta_j)^2`` off the log-likelihood.

    Parameters
    ----------
    variables : tuple of str
        Numeric columns.
    theta : float, optional
        The penalty, in units of log-likelihood, as in R's survival; None to estimate it as a
        smoothing parameter, which makes the coefficients normal random effects.
    scale : bool
        Whether ``s_j`` is the standard deviation of the column (with ``n - 1``), so that units of
        measurement have no influence. ``s_j = 1`` otherwise.
    label : str

    Notes
    -----
    Coefficients stay in the units of their columns. Where there is a dispersion, ``theta`` is in
    the units of other smoothing parameters: it counts as divided by it.

    References
    ----------
    Gray (1992), JASA 87, 942-951. Verweij & van Houwelingen (1994), Statistics in Medicine 13.

    Examples
    --------
    >>> basis = Ridge(("age", "dose"), theta=2.0, scale=False).build(
    ...     pd.DataFrame({"age": [50.0, 60.0], "dose": [1.0, 3.0]})
    ... )
    >>> basis.names, basis.lam
    (('ridge(age)', 'ridge(dose)'), (2.0,))
    """

    variables: tuple[str, ...]
    theta: Any = None
    scale: bool = True
    label: str = ""

    def __post_init__(self) -> None:
        variables = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        object.__setattr__(self, "variables", variables)
        if not variables or not all(isinstance(name, str) for name in variables):
            raise SpecificationError(
                f"ridge() takes one or more numeric columns; got {variables!r}."
            )
        if len(set(variables)) < len(variables):
            raise SpecificationError(f"ridge() was given a column twice: {variables!r}.")
        if not isinstance(self.scale, bool):
            raise SpecificationError(f"scale of ridge() must be a bool, got {self.scale!r}.")
        if not self.label:
            object.__setattr__(self, "label", f"ridge({','.join(variables)})")
        if self.theta is not None:
            theta = np.asarray(self.theta)
            if theta.shape or theta.dtype.kind not in "if" or not 0 <= theta < np.inf:
                raise SpecificationError(
                    f"theta of {self.label} must be one number that is finite and not negative, "
                    f"got {self.theta!r}."
                )
            object.__setattr__(self, "theta", float(theta))

    def text(self) -> str:
        """The term as it is written in a formula."""
        pieces = [quote_name(name) for name in self.variables]
        if self.theta is not None:
            pieces.append(f"theta={self.theta!r}")
        if not self.scale:
            pieces.append("scale=False")
        if self.label != f"ridge({','.join(self.variables)})":
            pieces.append(f"label={self.label!r}")
        return f"ridge({', '.join(pieces)})"

    def build(self, frame: pd.DataFrame) -> RidgeBasis:
        X = numeric_columns(frame, self.variables, self.label)
        constant = np.ptp(X, axis=0) == 0
        if constant.any():
            raise DataError(
                f"the column {self.variables[int(np.argmax(constant))]!r} of {self.label} is "
                "constant; leave it out."
            )
        penalty = np.diag(X.var(axis=0, ddof=1)) if self.scale else np.eye(X.shape[1])
        return RidgeBasis(
            label=self.label,
            names=tuple(f"ridge({name})" for name in self.variables),
            penalties=(frozen_array(penalty),),
            lam=(self.theta,),
            ranks=(X.shape[1],),
            variables=self.variables,
        )


@dataclass(frozen=True, eq=False)
class RidgeBasis(Basis):
    """The columns as they are, with a diagonal penalty."""

    label: str
    names: tuple[str, ...]
    penalties: tuple[np.ndarray, ...] = field(repr=False)
    lam: tuple[float | None, ...]
    ranks: tuple[int, ...]
    variables: tuple[str, ...]
    penalty_scales: tuple[float, ...] = (1.0,)

    kind: ClassVar[TermKind] = "parametric"  # type: ignore[misc]

    def design(self, frame: pd.DataFrame) -> DesignBlock:
        """The columns of new rows."""
        return DenseBlock(numeric_columns(frame, self.variables, self.label))


def ridge(
    *variables: str, theta: float | None = None, scale: bool = True, label: str = ""
) -> Ridge:
    """Numeric columns with one ridge penalty on their coefficients.

    Parameters are those of :class:`Ridge`.

    Examples
    --------
    >>> ridge("age", "dose", theta=1).text()
    'ridge(age, dose, theta=1.0)'
    """
    return Ridge(variables=variables, theta=theta, scale=scale, label=label)
