"""From deep terms as written to readers of their columns and recipes of their networks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from semistruct._registry import lookup
from semistruct.blueprint import SCALING_ROWS, InputPlan, NetworkBlueprint, Slot, TermPlan
from semistruct.encoders import (
    ENCODERS,
    RAGGED_ENCODERS,
    ModuleEncoder,
    build_encoder,
    encoder_options,
)
from semistruct.exceptions import (
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.fusion import fusion_options
from semistruct.modalities import (
    FeatureReader,
    Reader,
    TensorReader,
    column_reader,
    table_reader,
)
from semistruct.modality_dropout import DropRates, check_drop_rates, drop_rates_of
from semistruct.terms import Basis, DeepTerm, default_encoder
from semistruct.terms.deep import ONE_COLUMN
from semistruct.terms.measurement import is_tensor

__all__ = ["draw_blueprint", "shared_inputs", "warn_of_lost_pictures"]

_FUSION = "concat"


def draw_blueprint(
    deep: Sequence[Sequence[DeepTerm]],
    frame: pd.DataFrame,
    *,
    encoders: Mapping[str, nn.Module] | None = None,
    share_encoders: bool = False,
    rows: pd.DataFrame | None = None,
    modality_dropout: DropRates = None,
) -> NetworkBlueprint:
    """Learn from the training rows how the deep terms of every parameter read their columns.

    Parameters
    ----------
    deep : sequence of K sequences of DeepTerm
    frame : DataFrame
    encoders : mapping of str to module, optional
        The user's own encoders by the names used in the formula.
    share_encoders : bool
        Whether equal terms of two parameters are read by one network.
    rows : DataFrame, optional
        The rows of the likelihood, where these are not those of ``frame``; ``by=`` reads them.
    modality_dropout : None, float, mapping or "one"
        How often columns of pictures and tensors count as absent in training.

    Raises
    ------
    DataError
        If a column does not exist or cannot be read.
    SpecificationError
        If an encoder, an option or a fusion is unknown or does not fit the column.
    UnsupportedCombinationError
        If there is modality dropout and nothing that is trained by gradients.
    """
    readers: dict[str, Reader] = {}
    plans: list[TermPlan] = []
    slots: list[Slot] = []
    shared: dict[DeepTerm, int] = {}
    for k, terms in enumerate(deep):
        for term in terms:
            by = None if term.by is None else term.by.build(frame if rows is None else rows)
            if share_encoders and term in shared:
                slots += _slots(k, term, shared[term], by)
                continue
            plan, needed = _plan_term(term, frame, dict(encoders or {}))
            _add_readers(readers, needed)
            plans.append(plan)
            shared[term] = len(plans) - 1
            slots += _slots(k, term, len(plans) - 1, by)
    rates = check_drop_rates(modality_dropout)
    blueprint = NetworkBlueprint(readers, tuple(plans), tuple(slots), dropout=rates)
    if rates is not None:
        drop_rates_of(rates, blueprint.columns)
        if blueprint.is_linear:
            raise UnsupportedCombinationError(
                "modality_dropout is for networks that are trained step by step; the weights of "
                "frozen features are solved for at once, from the rows that have them. Leave "
                "modality_dropout out: predictions for rows without pictures do not need it. Or "
                "put a network after the features, with the option latent_dim of the encoder."
            )
    return blueprint


def _add_readers(readers: dict[str, Reader], needed: Mapping[str, Reader]) -> None:
    """Add readers; of two for one column the one for rows of one length stays."""
    for name, reader in needed.items():
        known = readers.get(name)
        if isinstance(known, TensorReader) and isinstance(reader, TensorReader):
            if len(known.in_shape) != len(reader.in_shape):
                raise SpecificationError(
                    f"one term reads the rows of {name!r} as numbers, another as a sequence; copy "
                    "the column under another name for one of them."
                )
            if reader.ragged and not known.ragged:
                continue
        readers[name] = reader


def _slots(k: int, term: DeepTerm, network: int, by: Basis | None) -> list[Slot]:
    """The term's score as it is, and times every column of ``by``."""
    columns = 0 if by is None else len(by.names)
    return [Slot(k, term, network), *(Slot(k, term, network, by, j) for j in range(columns))]


def _plan_term(
    term: DeepTerm, frame: pd.DataFrame, encoders: dict[str, nn.Module]
) -> tuple[TermPlan, dict[str, Reader]]:
    if term.encoder == "deep":
        return _plan_fusion(term, frame)
    recipe: str | nn.Module = encoders.get(term.encoder, term.encoder)
    if isinstance(recipe, str):
        lookup({**ENCODERS, **encoders}, recipe, "encoder")
    reader = _single_reader(term, frame, recipe)
    options = dict(term.options)
    if not isinstance(recipe, str):
        trial = build_encoder(recipe, reader.in_shape, options, 0)
        if isinstance(trial, ModuleEncoder) and isinstance(reader, TensorReader) and reader.ragged:
            raise SpecificationError(
                f"the rows of {reader.name!r} differ in length, and {term.encoder!r} would not "
                "know where each ends; write it as a subclass of semistruct.nn.Encoder, whose "
                "forward is given a mask, or use conv1d(), recurrent() or bag()."
            )
        if isinstance(trial, ModuleEncoder) and trial.frozen:
            return _plan_frozen(term, frame, reader, trial, options)
    part = InputPlan(reader.name, recipe, options, reader.in_shape)
    return TermPlan((part,)), {reader.name: reader}


def _plan_frozen(
    term: DeepTerm,
    frame: pd.DataFrame,
    reader: Reader,
    encoder: ModuleEncoder,
    options: dict[str, Any],
) -> tuple[TermPlan, dict[str, Reader]]:
    if encoder.preprocess is None:
        rows = reader.read(frame)
        encoder.learn_inputs(rows.batch(np.flatnonzero(rows.present)[:SCALING_ROWS]))
    features = FeatureReader(term.label, reader, encoder)
    if encoder.latent_dim == encoder.n_features and isinstance(encoder.head, nn.Identity):
        part = InputPlan(term.label, "features", {}, features.in_shape)
    else:
        head = {"latent_dim": encoder.latent_dim, "hidden": ()}
        head.update({key: options[key] for key in ("dropout", "activation") if key in options})
        part = InputPlan(term.label, "mlp", head, features.in_shape)
    return TermPlan((part,)), {term.label: features}


def _single_reader(term: DeepTerm, frame: pd.DataFrame, recipe: str | nn.Module) -> Reader:
    image = recipe == "cnn"
    tensors = [c for c in term.variables if c in frame.columns and is_tensor(frame[c])]
    one_column = isinstance(recipe, str) and recipe in ONE_COLUMN
    if len(term.variables) == 1 and (one_column or tensors):
        ragged = isinstance(recipe, str) and recipe in RAGGED_ENCODERS
        reader = column_reader(frame, term.variables[0], image=image, ragged=ragged)
        if reader.ragged and isinstance(recipe, str) and not ragged:
            raise SpecificationError(
                f"{term.label} needs rows of one shape, but those of {reader.name!r} differ in "
                f"length; {_for_ragged(reader.in_shape)} reads such rows."
            )
        return reader
    if one_column or tensors:
        raise SpecificationError(
            f"{term.label} reads one column of tensors, or only columns of the table; to join "
            f"several inputs write deep({', '.join(term.variables)})."
        )
    if len(term.variables) == 1 and term.encoder not in ENCODERS:
        column = term.variables[0]
        if column in frame.columns and not pd.api.types.is_numeric_dtype(frame[column].dtype):
            return column_reader(frame, column, image=True)
    return table_reader(frame, term.variables, _table_name(term))


def _plan_fusion(term: DeepTerm, frame: pd.DataFrame) -> tuple[TermPlan, dict[str, Reader]]:
    tensors = [c for c in term.variables if c in frame.columns and is_tensor(frame[c])]
    table = tuple(column for column in term.variables if column not in tensors)
    kinds = {column: default_encoder(frame[column].dtype.shape) for column in tensors}
    readers: list[Reader] = [
        column_reader(frame, column, image=False, ragged=kind in RAGGED_ENCODERS)
        for column, kind in kinds.items()
    ]
    if table:
        readers.append(table_reader(frame, table, f"table of {_table_name(term)}"))
    options = dict(term.options)
    fusion = str(options.pop("fusion", _FUSION))
    head = options.pop("head", "linear")
    if head not in ("linear", "mlp"):
        raise SpecificationError(f"head of {term.label} must be 'linear' or 'mlp', got {head!r}.")
    kinds = {reader.name: kinds.get(reader.name, "mlp") for reader in readers}
    of_fusion, of_encoders = _divided(options, fusion, kinds, term.label)
    inputs = tuple(
        InputPlan(reader.name, kinds[reader.name], of_encoders[reader.name], reader.in_shape)
        for reader in readers
    )
    plan = TermPlan(inputs, fusion, of_fusion, head)
    # A trial, so that a wrong option or combination is refused before anything is fitted.
    plan.make(np.random.SeedSequence(0))
    return plan, {reader.name: reader for reader in readers}


def _table_name(term: DeepTerm) -> str:
    """The label where that names all columns, and else what tells the term from any other."""
    return term.text() if "..." in term.label else term.label


def _for_ragged(in_shape: tuple[int, ...]) -> str:
    """What to write for rows of any length."""
    return "bag()" if len(in_shape) == 4 else "conv1d(), recurrent() or bag()"


def _divided(
    options: Mapping[str, Any], fusion: str, kinds: Mapping[str, str], label: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Options of the fusion, and for every input those of its encoder.

    ``latent_dim`` is that of the encoders. Another option goes to the fusion if that has it, else
    to all encoders that have it.
    """
    own = fusion_options(fusion) - {"latent_dim"}
    known = {name: encoder_options(kind) for name, kind in kinds.items()}
    for option in options:
        everything = dict.fromkeys(sorted(own.union(*known.values(), ("fusion", "head"))))
        lookup(everything, option, f"option of {label}")
    of_fusion = {key: value for key, value in options.items() if key in own}
    rest = {key: value for key, value in options.items() if key not in own}
    of_encoders = {
        name: {key: value for key, value in rest.items() if key in known[name]} for name in kinds
    }
    return of_fusion, of_encoders


def shared_inputs(
    subject: np.ndarray,
    readers: Mapping[str, Reader],
    keys: Mapping[str, np.ndarray | None],
    frame: pd.DataFrame,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one subject that read the same in every input, as one unit.

    Parameters
    ----------
    subject : (n,) array
    readers : mapping of str to Reader
    keys : mapping of str to (n,) array or None
        Of the pictures of each input, None for a row without one; None for tabular inputs.
    frame : DataFrame of n rows

    Returns
    -------
    first : (u,) int array
        A row of each unit, in the order of the rows.
    unit : (n,) int array
    """
    columns = {"subject": pd.factorize(np.asarray(subject, dtype=object))[0]}
    for name, key in keys.items():
        if key is not None:
            columns[name] = pd.factorize(key)[0]
        else:
            rows = readers[name].read(frame)
            values = rows.batch(np.arange(len(frame))).flatten(1).numpy()
            columns[name] = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    unit = pd.DataFrame(columns).groupby(list(columns), sort=False).ngroup().to_numpy()
    return np.unique(unit, return_index=True)[1], unit


def warn_of_lost_pictures(
    subject: np.ndarray, end: np.ndarray, keys: Mapping[str, np.ndarray | None]
) -> None:
    """Warn where a subject has a picture in one interval of its follow-up and none in a later one.

    Parameters
    ----------
    subject, end : (n,) arrays
    keys : mapping of str to (n,) array or None
        Of the pictures of each input, None for a row without one.
    """
    codes, labels = pd.factorize(np.asarray(subject, dtype=object))
    order = np.lexsort((end, codes))
    for name, key in keys.items():
        if key is None:
            continue
        present = pd.Series(pd.notna(key[order]))
        lost = present.groupby(codes[order]).cummax() & ~present
        if lost.any():
            row = order[int(lost.argmax())]
            warnings.warn(
                f"column {name!r}: {int(lost.sum())} rows have no picture though an earlier row of "
                f"their subject has one, first row {row} of subject {labels[codes[row]]!s}; they "
                "count as rows without a picture. Where the last one still holds, "
                "groupby(...).ffill() of the column, in the order of time, gives it to them.",
                DataWarning,
                stacklevel=2,
            )
