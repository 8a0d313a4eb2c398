"""Markov random fields: a value per region, neighbours pulled together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Basis, Term, TermKind
from semistruct.terms.blocks import FactoredBlock, IndexedBlock, SparseBlock
from semistruct.terms.constraints import absorb_constraint
from semistruct.terms.reading import group_codes
from semistruct.terms.smooth_base import check_lam
from semistruct.terms.smooth_basis import frozen_array

__all__ = ["MarkovField", "MarkovFieldBasis"]


@dataclass(frozen=True)
class MarkovField(Term):
    """Markov random field over regions, ``bs="mrf"``.

    Parameters
    ----------
    variables : tuple of str
        The column of regions.
    neighbours : mapping from region to list of regions, or pairs of these
        The whole map, symmetric. Regions without training rows may be on it: they take what their
        neighbours say.
    k : int, optional
        Dimension of a low-rank field before the constraint; None for one value per region.
    lam : float, optional
        Fixed smoothing parameter; None to estimate it.
    label : str

    Notes
    -----
    With ``beta`` the values of the regions, the penalty is the sum of ``(beta_i - beta_j)^2`` over
    pairs of neighbours, ``beta' S beta`` with the Laplacian ``S`` of the graph. The field sums to
    zero over the training rows. A field of rank ``k`` is spanned by the ``k`` least penalised
    vectors of ``S`` in the metric of the numbers of rows (one for regions without rows).

    A row of a region that is not on the map is an error, in training and in prediction: the map
    says nothing about it.

    In a formula, ``neighbours`` is written as pairs:
    ``s(region, bs='mrf', neighbours=(('a', ('b',)), ('b', ('a',))))``.

    References
    ----------
    Rue, H. and Held, L. (2005). *Gaussian Markov Random Fields*. Wood, S. N. (2017). *Generalized
    Additive Models*, 2nd ed., section 5.8.1.

    Examples
    --------
    >>> term = MarkovField(("ward",), neighbours={"a": ["b"], "b": ["a", "c"], "c": ["b"]})
    >>> basis = term.build(pd.DataFrame({"ward": ["a", "b", "b"]}))
    >>> basis.levels, len(basis.names), basis.null_dim
    (('a', 'b', 'c'), 2, 0)
    """

    variables: tuple[str, ...]
    neighbours: Any = None
    k: int | None = None
    lam: Any = None
    label: str = ""

    bs: ClassVar[str] = "mrf"

    def __post_init__(self) -> None:
        variables = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        object.__setattr__(self, "variables", variables)
        if len(variables) != 1 or not isinstance(variables[0], str):
            raise SpecificationError(
                f"s(..., bs='mrf') takes one column, that of the regions; got {variables!r}."
            )
        if not self.label:
            object.__setattr__(self, "label", f"s({variables[0]})")
        object.__setattr__(self, "neighbours", _checked_map(self.neighbours, self.label))
        object.__setattr__(self, "lam", check_lam(self.lam, self.label))
        if self.lam is not None and len(self.lam) != 1:
            raise SpecificationError(f"lam of {self.label} must be one number, got {self.lam!r}.")
        size = len(self.neighbours)
        if self.k is not None and (isinstance(self.k, bool) or not 2 <= self.k <= size):
            raise SpecificationError(
                f"k of {self.label} must be an integer from 2 to {size}, the number of regions, "
                f"got {self.k!r}."
            )

    def text(self) -> str:
        """The term as it is written in a formula, the map included."""
        pieces = [quote_name(self.variables[0]), "bs='mrf'", f"neighbours={self.neighbours!r}"]
        if self.k is not None:
            pieces.append(f"k={self.k}")
        if self.lam is not None:
            pieces.append(f"lam={self.lam!r}")
        if self.label != f"s({self.variables[0]})":
            pieces.append(f"label={self.label!r}")
        return f"s({', '.join(pieces)})"

    def build(self, frame: pd.DataFrame) -> MarkovFieldBasis:
        levels = tuple(region for region, _ in self.neighbours)
        if not len(frame):
            raise DataError(f"{self.label} cannot be learned from a table without rows.")
        codes = _region_codes(frame, self.variables[0], levels, self.label)
        counts = np.bincount(codes, minlength=len(levels))
        if (counts > 0).sum() < 2:
            raise DataError(
                f"{self.label} needs rows of at least two regions but all are of "
                f"{levels[codes[0]]!r}; remove the term."
            )
        S = _laplacian(self.neighbours)
        n_parts, part = connected_components(sp.csr_array(S))
        empty = np.flatnonzero(np.bincount(part, counts, n_parts) == 0)
        if empty.size:
            lost = [level for level, own in zip(levels, part, strict=True) if own == empty[0]]
            raise DataError(
                f"no training row of {self.label} lies in {', '.join(map(repr, lost))}, which "
                "border on no other region of the map; take them off the map."
            )
        P, penalty = np.eye(len(levels)), S
        if self.k is not None and self.k < len(levels):
            weight = 1.0 / np.sqrt(np.maximum(counts, 1))
            values, U = np.linalg.eigh(S * np.outer(weight, weight))
            P = weight[:, None] * U[:, : self.k]
            values = values[: self.k].clip(min=0.0)
            values[:n_parts] = 0.0
            penalty = np.diag(values)
            if self.k <= n_parts:
                raise SpecificationError(
                    f"k={self.k} is too small for {self.label}, whose map has {n_parts} parts "
                    f"that do not touch; use at least {n_parts + 1}."
                )
        Z = absorb_constraint(counts @ P / len(frame))
        largest = np.abs(P[counts > 0]).sum(axis=1).max()
        scale = float(np.abs(penalty).sum(axis=0).max() / largest**2)
        absorbed = Z.T @ (penalty / scale) @ Z
        return MarkovFieldBasis(
            label=self.label,
            names=tuple(f"{self.label}.{i + 1}" for i in range(Z.shape[1])),
            penalties=(frozen_array((absorbed + absorbed.T) / 2),),
            penalty_scales=(scale,),
            lam=self.lam or (None,),
            variables=self.variables,
            levels=levels,
            ranks=(len(penalty) - n_parts,),
            null_dim=n_parts - 1,
            values=frozen_array(P @ Z),
        )


@dataclass(frozen=True, eq=False)
class MarkovFieldBasis(Basis):
    """The regions of the map; ``values @ beta`` is the field, in the order of ``levels``."""

    label: str
    names: tuple[str, ...] = field(repr=False)
    penalties: tuple[np.ndarray, ...] = field(repr=False)
    penalty_scales: tuple[float, ...]
    lam: tuple[float | None, ...]
    variables: tuple[str, ...]
    levels: tuple[Any, ...] = field(repr=False)
    ranks: tuple[int, ...]
    null_dim: int
    values: np.ndarray = field(repr=False)
    kind: TermKind = "smooth"

    def design(self, frame: pd.DataFrame) -> FactoredBlock:
        """Rows of ``values``; :class:`DataError` for a region that is not on the map."""
        codes = _region_codes(frame, self.variables[0], self.levels, self.label)
        return IndexedBlock(SparseBlock(sp.csr_array(self.values)), codes)


def _region_codes(
    frame: pd.DataFrame, name: str, levels: tuple[Any, ...], label: str
) -> np.ndarray:
    codes = group_codes(frame, name, label, levels)
    off = np.flatnonzero(codes < 0)
    if off.size:
        raise DataError(
            f"the region {frame[name].iloc[off[0]]!r} of the column {name!r} (row {off[0]}) is not "
            f"on the map of {label}, which has {len(levels)} regions; add it to neighbours= with "
            "the regions that it borders on."
        )
    return codes


def _checked_map(neighbours: Any, label: str) -> tuple[tuple[Any, tuple[Any, ...]], ...]:
    """The map as pairs, after a check that it is symmetric."""
    usage = (
        f"neighbours of {label} must be a mapping from every region to a list of the regions it "
        "borders on, such as {'a': ['b'], 'b': ['a']}"
    )
    if neighbours is None:
        raise SpecificationError(f"{usage}; none was given.")
    pairs = neighbours.items() if isinstance(neighbours, Mapping) else neighbours
    try:
        found = {region: _regions(others) for region, others in pairs}
    except (TypeError, ValueError) as error:
        raise SpecificationError(f"{usage}, got {neighbours!r}.") from error
    if len(found) < 2:
        raise SpecificationError(f"{usage}; a map has two regions or more.")
    for region, others in found.items():
        for other in others:
            if other == region:
                raise SpecificationError(f"{label}: the region {region!r} borders on itself.")
            if other not in found or region not in found[other]:
                raise SpecificationError(
                    f"{label}: the region {region!r} borders on {other!r}, but {other!r} "
                    + ("is not on the map." if other not in found else f"not on {region!r}.")
                )
    return tuple((region, tuple(dict.fromkeys(others))) for region, others in found.items())


def _regions(others: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(others, str):
        raise TypeError("a list of regions, not one")
    return tuple(others)


def _laplacian(neighbours: tuple[tuple[Any, tuple[Any, ...]], ...]) -> np.ndarray:
    """Number of neighbours on the diagonal, minus one for each pair of neighbours."""
    position = {region: i for i, (region, _) in enumerate(neighbours)}
    S = np.zeros((len(position),) * 2)
    for region, others in neighbours:
        i = position[region]
        for other in others:
            S[i, position[other]] = -1.0
        S[i, i] = len(others)
    return S
