"""Fitting a specified model: the steps every estimator goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from torch import nn

from semistruct._validation import is_positive_whole
from semistruct.blueprint import row_weights
from semistruct.design import design_with_block
from semistruct.estimators._deep_terms import draw_blueprint, shared_inputs, warn_of_lost_pictures
from semistruct.estimators._expanded import ExpandedRows
from semistruct.estimators._input import resolve_device
from semistruct.estimators._specification import Specification
from semistruct.exceptions import SpecificationError
from semistruct.families import Objective
from semistruct.fitting.checkpoints import CheckpointedSolver
from semistruct.fitting.deep import fit_deep, noise_scale
from semistruct.fitting.folds import row_groups
from semistruct.fitting.gradient import GradientSolver
from semistruct.fitting.members import DeepProblem, MemberSolver, TrainingOptions
from semistruct.fitting.model import ModelFit
from semistruct.fitting.ridge import RidgeSolver
from semistruct.fitting.shared_pictures import share_pictures
from semistruct.fitting.structured import StructuredProblem, fit_structured
from semistruct.modality_dropout import DropRates, check_drop_rates
from semistruct.objectives import RepresentationObjective
from semistruct.objectives.bound import bind_objectives, checked_objectives
from semistruct.terms.binning import Bins, is_large

__all__ = ["FitOptions", "fit_model"]

_CHOICES = {
    "smoothing": ("reml", "ml", "gcv"),
    "orthogonalize": ("structured", "parametric", "none"),
    "cov_type": (None, "model", "sandwich", "cluster"),
    "discrete": (None, True, False),
}


@dataclass(frozen=True)
class FitOptions:
    """The options of an estimator, checked.

    Attributes
    ----------
    training : TrainingOptions
    encoders : mapping of str to module
    share_encoders, gate, progress : bool
    smoothing : {"reml", "ml", "gcv"}
    discrete : bool or None
    target : {"structured", "parametric", "none"}
    n_folds, n_repeats : int
    n_jobs : int or None
    checkpoint : Path or None
        Folder of the networks of this very problem.
    modality_dropout : None, float, mapping or "one"
    pretraining, auxiliary : tuple of RepresentationObjective
    random_state : SeedSequence
    """

    training: TrainingOptions
    encoders: Mapping[str, nn.Module]
    share_encoders: bool
    smoothing: Literal["reml", "ml", "gcv"]
    discrete: bool | None
    target: Literal["structured", "parametric", "none"]
    gate: bool
    n_folds: int
    n_repeats: int
    n_jobs: int | None
    checkpoint: Path | None
    progress: bool
    modality_dropout: DropRates
    pretraining: tuple[RepresentationObjective, ...]
    auxiliary: tuple[RepresentationObjective, ...]
    random_state: np.random.SeedSequence

    @classmethod
    def of(cls, estimator: Any, **training: Any) -> FitOptions:
        """Read and check the parameters of an estimator.

        Parameters
        ----------
        estimator : BaseEstimator
        **training
            More of :class:`~semistruct.fitting.members.TrainingOptions`.

        Raises
        ------
        SpecificationError
            If an option has a value that is not allowed.
        """
        for name, allowed in _CHOICES.items():
            value = getattr(estimator, name)
            if value not in allowed:
                raise SpecificationError(
                    f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}."
                )
        for name in ("n_folds", "n_repeats"):
            value = getattr(estimator, name)
            if not is_positive_whole(value):
                raise SpecificationError(
                    f"{name} must be a whole number of 1 or more, got {value!r}."
                )
        options = TrainingOptions(
            max_epochs=estimator.max_epochs,
            batch_size=estimator.batch_size,
            learning_rate=estimator.learning_rate,
            weight_decay=estimator.weight_decay,
            patience=estimator.patience,
            device=resolve_device(estimator.device),
            **training,
        )
        seed = check_random_state(estimator.random_state).randint(2**31 - 1)
        return cls(
            training=options,
            encoders=dict(estimator.encoders or {}),
            share_encoders=estimator.share_encoders,
            smoothing=estimator.smoothing,
            discrete=estimator.discrete,
            target=estimator.orthogonalize,
            gate=estimator.gate,
            n_folds=int(estimator.n_folds),
            n_repeats=int(estimator.n_repeats),
            n_jobs=estimator.n_jobs,
            checkpoint=None,
            progress=estimator.progress,
            modality_dropout=check_drop_rates(estimator.modality_dropout),
            pretraining=checked_objectives(estimator.pretraining, "pretraining"),
            auxiliary=checked_objectives(estimator.auxiliary, "auxiliary"),
            random_state=np.random.SeedSequence(int(seed)),
        )


def fit_model(
    specification: Specification,
    frame: pd.DataFrame,
    y: np.ndarray,
    sample_weight: np.ndarray,
    family: Objective,
    cluster: np.ndarray | None,
    options: FitOptions,
    expanded: ExpandedRows | None = None,
    interval_end: np.ndarray | None = None,
) -> ModelFit:
    """Fit the table model; then, where there are deep terms, cross-fit and calibrate them.

    Parameters
    ----------
    specification : Specification
        K lists of terms.
    frame : DataFrame of n rows
    y : (n, ...) array, validated
    sample_weight : (n,) array
    family : Objective
    cluster : (n,) array or None
        Subjects, for folds and a cluster covariance.
    options : FitOptions
    expanded : ExpandedRows, optional
        The rows of the likelihood where these are not those of ``frame``: intervals of time. Then
        ``y`` belongs to them; pictures are read from ``frame``, each once.
    interval_end : (n,) array, optional
        Where the rows are intervals of their subjects' follow-up. What the deep terms read is then
        encoded once for all rows of a subject in which it is the same.
    """
    n = len(frame)
    rows, unit = frame, None
    if expanded is not None:
        rows, unit = expanded.frame, expanded.unit
        sample_weight = sample_weight[unit]
    discrete = is_large(len(rows)) if options.discrete is None else options.discrete
    bins = Bins() if discrete else None
    built = [
        design_with_block(
            terms,
            rows,
            sample_weight,
            intercept=family.has_intercept,
            make_block=expanded is None,
            bins=bins,
        )
        for terms in specification.terms
    ]
    designs = tuple(design for design, _ in built)
    blocks = tuple(
        expanded.block(design) if block is None and expanded is not None else block
        for design, block in built
    )
    problem = StructuredProblem(
        family=family,
        y=y,
        designs=designs,
        blocks=blocks,  # type: ignore[arg-type]
        offset=np.column_stack([design.offset(rows) for design in designs]),
        sample_weight=sample_weight,
    )
    marginal = fit_structured(problem, method=options.smoothing)
    fitted = ModelFit(
        formulas=tuple(terms.text() for terms in specification.terms),
        problem=problem,
        marginal=marginal,
        cluster=cluster if cluster is None or unit is None else cluster[unit],
        frame=_variables(specification, rows),
        unit=unit,
        inputs=None if unit is None else _variables(specification, frame),
    )
    if not any(terms.deep for terms in specification.terms):
        for option in ("pretraining", "auxiliary"):
            if getattr(options, option):
                raise SpecificationError(
                    f"{option}= trains the networks of deep terms, and the model has none; add "
                    "one to the formula, such as cnn(picture), or leave the option out."
                )
        return fitted
    blueprint = draw_blueprint(
        [terms.deep for terms in specification.terms],  # type: ignore[misc]
        frame,
        encoders=options.encoders,
        share_encoders=options.share_encoders,
        rows=rows,
        modality_dropout=options.modality_dropout,
    )
    keys = {name: reader.keys(frame) for name, reader in blueprint.readers.items()}
    groups = row_groups(n, [key for key in (cluster, *keys.values()) if key is not None])
    inputs = frame
    if interval_end is not None and cluster is not None:
        warn_of_lost_pictures(cluster, interval_end, keys)
        first, unit = shared_inputs(cluster, blueprint.readers, keys, frame)
        inputs = frame.iloc[first]
        fitted = replace(fitted, unit=unit, inputs=_variables(specification, inputs))
    modalities = {name: read.in_memory() for name, read in blueprint.read(inputs).items()}
    deep_problem = DeepProblem(
        problem,
        marginal,
        blueprint,
        modalities,
        noise_scale(problem, marginal, blueprint.slots, unit),
        unit,
        row_weights(blueprint.slots, rows),
        bind_objectives(options.pretraining, blueprint, inputs, "pretraining"),
        bind_objectives(options.auxiliary, blueprint, inputs, "auxiliary"),
    )
    if expanded is not None:
        groups = deep_problem.gather(groups)
    deep_problem = share_pictures(deep_problem, list(keys.values()))
    solver: MemberSolver = GradientSolver(options.training)
    if blueprint.is_linear:
        solver = RidgeSolver()
    elif options.checkpoint is not None:
        solver = CheckpointedSolver(solver, options.checkpoint)
    deep = fit_deep(
        deep_problem,
        solver,
        groups,
        n_folds=options.n_folds,
        # A ridge regression has no luck to average out.
        n_repeats=1 if blueprint.is_linear else options.n_repeats,
        target=options.target,
        gate=options.gate,
        random_state=options.random_state,
        n_jobs=options.n_jobs,
        progress=options.progress,
        table=frame,
        columns=specification.tabular(frame),
        table_row=None if expanded is None else expanded.unit,
    )
    return replace(fitted, blueprint=blueprint, deep=deep)


def _variables(specification: Specification, frame: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in specification.variables if name in frame.columns]
    if names:
        first = int(np.argmax(frame.columns == names[0]))
        if list(frame.columns[first : first + len(names)]) == names:
            # Neighbouring columns are copied as they lie, not gathered.
            return frame.iloc[:, first : first + len(names)].copy()
    return frame[names]
