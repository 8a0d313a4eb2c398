"""Random effects: one penalised coefficient per group, an intercept or a slope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Basis, Term, TermKind
from semistruct.terms.blocks import FactoredBlock, IndexedBlock, ScaledBlock, SparseBlock
from semistruct.terms.reading import group_codes, group_levels, numeric_column
from semistruct.terms.smooth_basis import frozen_array

__all__ = ["RandomEffect", "RandomEffectBasis"]


@dataclass(frozen=True)
class RandomEffect(Term):
    """Random intercept of a grouping column, or random slope of a second, numeric column.

    Parameters
    ----------
    variables : tuple of str
        ``(group,)`` or ``(group, x)``.
    lam : float, optional
        Fixed smoothing parameter; None to estimate it.
    label : str

    Notes
    -----
    One column per group in the training rows, identity penalty, no constraint: the shrinkage makes
    it identifiable beside an intercept. A group that was not seen in training contributes zero,
    which is the population mean of the random effects. A missing group is an error.

    Examples
    --------
    >>> basis = RandomEffect(("ward",)).build(pd.DataFrame({"ward": ["b", "a", "b"]}))
    >>> basis.names
    ('re(ward).a', 're(ward).b')
    >>> basis.design(pd.DataFrame({"ward": ["b", "new"]})).dense()
    array([[0., 1.],
           [0., 0.]])
    """

    variables: tuple[str, ...]
    lam: Any = None
    label: str = ""

    bs: ClassVar[str] = "re"

    def __post_init__(self) -> None:
        variables = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        object.__setattr__(self, "variables", variables)
        if len(variables) not in (1, 2) or not all(isinstance(name, str) for name in variables):
            raise SpecificationError(
                "re() takes a grouping column and, for a random slope, one numeric column; got "
                f"{variables!r}."
            )
        if not self.label:
            object.__setattr__(self, "label", f"re({','.join(variables)})")
        if self.lam is not None:
            lam = np.atleast_1d(np.asarray(self.lam, dtype=float))
            if lam.shape != (1,) or not np.isfinite(lam[0]) or lam[0] < 0:
                raise SpecificationError(
                    f"lam of {self.label} must be one number that is finite and not negative, got "
                    f"{self.lam!r}."
                )
            object.__setattr__(self, "lam", float(lam[0]))

    def text(self) -> str:
        """The term as it is written in a formula."""
        pieces = [quote_name(name) for name in self.variables]
        if self.lam is not None:
            pieces.append(f"lam={self.lam!r}")
        if self.label != f"re({','.join(self.variables)})":
            pieces.append(f"label={self.label!r}")
        return f"re({', '.join(pieces)})"

    def build(self, frame: pd.DataFrame) -> RandomEffectBasis:
        label = self.label
        group = self.variables[0]
        levels = group_levels(frame, group, label)
        if len(levels) < 2:
            raise DataError(
                f"{label} needs at least two groups in the column {group!r} but there "
                f"{'is one: ' + repr(levels[0]) if levels else 'are no rows'}; remove the term."
            )
        largest = 1.0
        if len(self.variables) == 2:
            largest = float(np.abs(numeric_column(frame, self.variables[1], label)).max())
            if largest == 0.0:
                raise DataError(
                    f"the column {self.variables[1]!r} of {label} is zero everywhere; remove the "
                    "term."
                )
        return RandomEffectBasis(
            label=label,
            names=tuple(f"{label}.{level}" for level in levels),
            penalties=(frozen_array(np.eye(len(levels)) * largest**2),),
            penalty_scales=(1.0 / largest**2,),
            lam=(self.lam,),
            variables=self.variables,
            levels=levels,
            ranks=(len(levels),),
        )


@dataclass(frozen=True, eq=False)
class RandomEffectBasis(Basis):
    """The groups seen in training, one column each, in the order of ``levels``."""

    label: str
    names: tuple[str, ...] = field(repr=False)
    penalties: tuple[np.ndarray, ...] = field(repr=False)
    penalty_scales: tuple[float, ...]
    lam: tuple[float | None, ...]
    variables: tuple[str, ...]
    levels: tuple[Any, ...] = field(repr=False)
    ranks: tuple[int, ...]
    null_dim: int = 0
    kind: TermKind = "random"

    def design(self, frame: pd.DataFrame) -> FactoredBlock:
        """Indicator of each row's group; a row of zeros for a group not seen in training."""
        codes = group_codes(frame, self.variables[0], self.label, self.levels)
        p = len(self.levels)
        # The last unique row is all zero and stands for every unseen group.
        unique = SparseBlock(sp.eye_array(p + 1, p, format="csr"))
        block = IndexedBlock(unique, np.where(codes < 0, p, codes))
        if len(self.variables) == 1:
            return block
        return ScaledBlock(block, numeric_column(frame, self.variables[1], self.label))
