"""The inputs of the networks of a model, as places where an objective can act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semistruct.blueprint import NetworkBlueprint
from semistruct.exceptions import SpecificationError
from semistruct.modalities import TableReader, TensorReader
from semistruct.terms.parametric import ParametricBasis

__all__ = ["Site", "find_sites", "site_groups"]

_TABLE = "table"


@dataclass(frozen=True)
class Site:
    """One input of a deep term, and what its encoder makes of it.

    Attributes
    ----------
    term : int
        Position of the term network.
    label : str
        Of the deep term.
    input : str
        Name of the input in a batch.
    columns : tuple of str
        Columns of the table that it reads.
    in_shape : tuple of int
        Shape of one row.
    latent_dim : int
        Number of latent features.
    joined_dim : int
        Number of features of the whole term.
    variables : tuple of int or None
        For an input of tabular columns the number of the variable that each entry belongs to, so
        that the indicators of a factor stay together; None for pictures and other tensors.
    ragged : bool
        Whether rows differ in length.
    trained : bool
        Whether the encoder has weights to train.
    """

    term: int
    label: str
    input: str
    columns: tuple[str, ...]
    in_shape: tuple[int, ...]
    latent_dim: int
    joined_dim: int
    variables: tuple[int, ...] | None
    ragged: bool
    trained: bool

    @property
    def is_table(self) -> bool:
        """Whether it reads tabular columns."""
        return self.variables is not None

    def is_called(self, name: str) -> bool:
        """Whether a user means this input."""
        return name in (self.input, *self.columns) or (self.is_table and name == _TABLE)


def find_sites(blueprint: NetworkBlueprint) -> tuple[Site, ...]:
    """Every input of every deep term."""
    terms = {slot.network: slot.term for slot in blueprint.slots}
    found = []
    for number, plan in enumerate(blueprint.plans):
        network = plan.make(np.random.SeedSequence(0))
        names = [part.name for part in plan.inputs]
        for part, encoder in zip(plan.inputs, network.encoders, strict=True):
            reader = blueprint.readers[part.name]
            columns: tuple[str, ...] = (part.name,)
            if part.name not in terms[number].variables:
                columns = tuple(v for v in terms[number].variables if v not in names)
            found.append(
                Site(
                    term=number,
                    label=terms[number].label,
                    input=part.name,
                    columns=columns,
                    in_shape=tuple(part.in_shape),
                    latent_dim=encoder.latent_dim,  # type: ignore[arg-type]
                    joined_dim=network.latent_dim,
                    variables=_variables(reader) if isinstance(reader, TableReader) else None,
                    ragged=isinstance(reader, TensorReader) and reader.ragged,
                    trained=any(p.requires_grad for p in encoder.parameters()),
                )
            )
    return tuple(found)


def site_groups(
    sites: Sequence[Site], inputs: Sequence[str] | None
) -> tuple[tuple[Site, ...], ...]:
    """Inputs that belong together: those of a term, or those that are named.

    Parameters
    ----------
    sites : sequence of Site
    inputs : sequence of str, optional
        Columns, or "table" for the tabular columns of a term. If some terms have all of them these
        are the groups; else there is one group across terms. By default all inputs of every term.

    Raises
    ------
    SpecificationError
        If no deep term reads one of the inputs, or several do and none reads all.
    """
    own: dict[int, list[Site]] = {}
    for site in sites:
        own.setdefault(site.term, []).append(site)
    if inputs is None:
        return tuple(tuple(group) for group in own.values())
    for name in inputs:
        if not any(site.is_called(name) for site in sites):
            known = dict.fromkeys(site.input for site in sites)
            raise SpecificationError(
                f"no deep term reads {name!r}; their inputs are "
                f"{', '.join(map(repr, known))} ({_TABLE!r} stands for the tabular ones)."
            )
    within = []
    for group in own.values():
        chosen = [next((s for s in group if s.is_called(name)), None) for name in inputs]
        if all(site is not None for site in chosen):
            within.append(tuple(dict.fromkeys(site for site in chosen if site is not None)))
    if within:
        return tuple(within)
    across = []
    for name in inputs:
        called = [site for site in sites if site.is_called(name)]
        if len(called) > 1:
            raise SpecificationError(
                f"{name!r} is read by {' and '.join(site.label for site in called)}, and no term "
                f"reads all of {', '.join(map(repr, inputs))}; join them in one deep() term."
            )
        across.append(called[0])
    return (tuple(dict.fromkeys(across)),)


def _variables(reader: TableReader) -> tuple[int, ...]:
    """Number of the variable of every column that a reader makes."""
    columns = np.arange(reader.in_shape[0])
    if isinstance(reader.basis, ParametricBasis):
        for number, (_, at) in enumerate(reader.basis.term_slices):
            columns[at] = number
    return tuple(int(number) for number in columns)
