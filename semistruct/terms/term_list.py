"""What can be added with ``+``, and the list that comes out: the predictor of one parameter."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from semistruct.exceptions import SpecificationError
from semistruct.terms._tokens import quote_name

__all__ = ["Addend", "ForeignTerm", "Role", "TermList", "add_terms", "foreign_terms"]

Role = Literal["structured", "deep", "offset", "strata", "cluster"]


class Addend(ABC):
    """A piece of a predictor that can be added to others with ``+``.

    Attributes
    ----------
    label : str
        How the piece is called in a table.
    variables : tuple of str
        Columns that the piece is about.
    by : str, Addend or None
        A column or a term that the effect varies with.
    role : str
        Where the piece goes in a :class:`TermList`.
    """

    label: str
    variables: tuple[str, ...]
    by: object = None
    role: ClassVar[Role] = "structured"

    def text(self) -> str:
        """The piece as it is written in a formula."""
        return self.label

    @property
    def reads(self) -> tuple[str, ...]:
        """Every column that the piece reads, those of ``by`` included."""
        if isinstance(self.by, str):
            return (*self.variables, self.by)
        if isinstance(self.by, Addend):
            return (*self.variables, *self.by.reads)
        return self.variables

    def merged(self, other: Addend) -> Addend | None:
        """This piece and ``other`` as one, or None when they stay two."""
        return self if other == self else None

    def __add__(self, other: object) -> TermList:
        return TermList.of(self) + other

    def __sub__(self, other: object) -> TermList:
        return TermList.of(self) - other


@dataclass(frozen=True)
class ForeignTerm(Addend):
    """A term of pyGAM, which names columns by their position: translated once the table is known.

    Attributes
    ----------
    description : str
        ``repr`` of what pyGAM says about the term, for equality.
    info : dict
        What pyGAM says about the term.
    """

    description: str
    info: dict[str, Any] = field(compare=False, repr=False)

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"pyGAM's {self.info['term_type']}"

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """None yet: positions get their names from the table."""
        return ()


def foreign_terms(other: object) -> tuple[ForeignTerm, ...]:
    """The terms of a pyGAM term or term list; empty for anything else.

    pyGAM is not imported: its terms describe themselves.
    """
    if type(other).__module__.split(".")[0] != "pygam" or not hasattr(other, "info"):
        return ()
    pieces = _described(other)
    if pieces["term_type"] != "term_list":
        pieces = {"terms": [pieces]}
    return tuple(
        ForeignTerm(repr(sorted(piece.items(), key=str)), piece)
        for piece in pieces["terms"]
        if piece["term_type"] != "intercept_term"
    )


def _described(term: Any) -> dict[str, Any]:
    """What a term of pyGAM says about itself, and the knots that it leaves out there."""
    info = dict(term.info)
    if info["term_type"] in ("term_list", "tensor_term"):
        info["terms"] = [_described(piece) for piece in term._terms]
    else:
        knots = getattr(term, "edge_knots_", None)
        info["edge_knots"] = None if knots is None else tuple(float(knot) for knot in knots)
    return info


@dataclass(frozen=True, repr=False)
class TermList:
    """The predictor of one parameter: an immutable sum of terms. Learns nothing.

    Parameters
    ----------
    structured : tuple of Term
        Parametric terms (at most one :class:`~semistruct.terms.Parametric`), smooths and random
        effects, in the order in which they were written.
    deep : tuple of DeepTerm
        Terms read by an encoder.
    offsets : tuple of Offset
        Known pieces of the predictor, with coefficient one.
    intercept : bool
        Whether the predictor has an intercept.
    strata : tuple of str
        Columns that stratify the baseline hazard.
    cluster : str or None
        Column that names independent groups of rows, for the covariance and for folds.

    Notes
    -----
    Equality is by value and a term list can be hashed. ``terms - 1`` has no intercept, like the
    formula ``"... - 1"``. ``repr`` is the formula.
    """

    structured: tuple[Addend, ...] = ()
    deep: tuple[Addend, ...] = ()
    offsets: tuple[Addend, ...] = ()
    intercept: bool = True
    strata: tuple[str, ...] = ()
    cluster: str | None = None

    @classmethod
    def of(cls, *addends: Addend, intercept: bool = True) -> TermList:
        """The list of the given pieces; equal pieces count once, parametric ones are joined."""
        structured: tuple[Addend, ...] = ()
        deep: tuple[Addend, ...] = ()
        offsets: tuple[Addend, ...] = ()
        strata: tuple[str, ...] = ()
        clusters: tuple[str, ...] = ()
        for addend in addends:
            if addend.role == "structured":
                structured = _joined(structured, addend)
            elif addend.role == "deep":
                deep = _joined(deep, addend)
            elif addend.role == "offset":
                offsets = (*offsets, addend)
            elif addend.role == "strata":
                strata = tuple(dict.fromkeys((*strata, *addend.variables)))
            else:
                clusters = tuple(dict.fromkeys((*clusters, *addend.variables)))
        if len(clusters) > 1:
            raise SpecificationError(
                f"cluster() names one column, got {', '.join(map(repr, clusters))}; make one "
                "column of the combination."
            )
        return cls(structured, deep, offsets, intercept, strata, clusters[0] if clusters else None)

    def __iter__(self) -> Iterator[Addend]:
        return iter((*self.structured, *self.deep, *self.offsets))

    def __len__(self) -> int:
        return len(self.structured) + len(self.deep) + len(self.offsets)

    def __add__(self, other: object) -> TermList:
        if isinstance(other, Addend):
            other = TermList.of(other)
        foreign = foreign_terms(other)
        if foreign:
            other = TermList.of(*foreign)
        if not isinstance(other, TermList):
            return NotImplemented
        together = TermList.of(
            *self.structured,
            *other.structured,
            *self.deep,
            *other.deep,
            *self.offsets,
            *other.offsets,
            intercept=self.intercept and other.intercept,
        )
        if None not in (self.cluster, other.cluster) and self.cluster != other.cluster:
            raise SpecificationError(
                f"cluster() names one column, got {self.cluster!r} and {other.cluster!r}; make "
                "one column of the combination."
            )
        return replace(
            together,
            strata=tuple(dict.fromkeys((*self.strata, *other.strata))),
            cluster=self.cluster if self.cluster is not None else other.cluster,
        )

    def __sub__(self, other: object) -> TermList:
        if other != 1 or isinstance(other, bool):
            return NotImplemented
        return replace(self, intercept=False)

    @property
    def variables(self) -> tuple[str, ...]:
        """Every column that the predictor reads, each once, in the order of the terms."""
        cluster = () if self.cluster is None else (self.cluster,)
        read = [name for addend in self for name in addend.reads]
        return tuple(dict.fromkeys((*read, *self.strata, *cluster)))

    def text(self) -> str:
        """The formula of the predictor, without response."""
        pieces = [addend.text() for addend in self]
        return _formula_text(pieces, self.intercept, self.strata, self.cluster)

    def __repr__(self) -> str:
        return self.text()


def _joined(addends: tuple[Addend, ...], addend: Addend) -> tuple[Addend, ...]:
    for position, earlier in enumerate(addends):
        one = earlier.merged(addend)
        if one is not None:
            return (*addends[:position], one, *addends[position + 1 :])
    return (*addends, addend)


def _formula_text(
    pieces: list[str], intercept: bool, strata: tuple[str, ...], cluster: str | None
) -> str:
    if strata:
        pieces = [*pieces, f"strata({', '.join(map(quote_name, strata))})"]
    if cluster is not None:
        pieces = [*pieces, f"cluster({quote_name(cluster)})"]
    if not pieces:
        return "1" if intercept else "0"
    return " + ".join(pieces) + ("" if intercept else " - 1")


def add_terms(addends: Iterable[Addend | TermList]) -> TermList:
    """The sum of several pieces; the empty sum is an intercept alone.

    Examples
    --------
    >>> add_terms([])
    1
    """
    total = TermList()
    for addend in addends:
        total = total + addend
    return total
