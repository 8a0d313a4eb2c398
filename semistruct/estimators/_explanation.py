"""Explanations of predictions: waterfalls, contact sheets, maps over pictures and of features."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.utils.validation import check_is_fitted

from semistruct._registry import lookup
from semistruct._validation import check_length
from semistruct.exceptions import DataError, SpecificationError
from semistruct.families import Objective
from semistruct.fitting.model import ModelFit
from semistruct.inference.embedding_maps import PlaneMethod, embedding_plane
from semistruct.inference.image_maps import MapMethod, PictureEffect, image_maps
from semistruct.plots.deep import image_reader, scored_rows
from semistruct.plots.explanations import plot_embedding_plane, plot_image_maps, plot_waterfall
from semistruct.plots.pictures import pixels, plot_contact_sheet
from semistruct.plots.style import effect_label
from semistruct.terms import ParametricBasis
from semistruct.terms.parametric import Parametric

__all__ = ["ExplanationMixin"]

_MAPS = 8
_METHODS = {
    "grad_cam": "features times gradients",
    "occlusion": "what is lost by covering",
    "integrated_gradients": "integrated gradients",
}
_AXES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal component"}


class ExplanationMixin:
    """Plots that say why a model predicts what it predicts."""

    fit_: ModelFit
    family_: Objective

    @abstractmethod
    def _new_rows(self, X: Any) -> pd.DataFrame:
        """Rows to predict as a table."""

    @abstractmethod
    def _device(self) -> str:
        """Where networks are evaluated."""

    @abstractmethod
    def term_contributions(self, X: Any) -> pd.DataFrame:
        """What every term adds to its predictor, columns ``(parameter, term)``."""

    @abstractmethod
    def embeddings(self, X: Any) -> pd.DataFrame:
        """Latent features of the deep terms, columns ``(term, member, feature)``."""

    def plot_waterfall(
        self,
        X: Any,
        row: int = 0,
        *,
        param: str | None = None,
        max_terms: int = 12,
        ax: Axes | None = None,
    ) -> Axes:
        """Why this prediction: what sets a row's predictor apart from the average, term by term.

        Parameters
        ----------
        X : DataFrame or array
        row : int
            Position of the row in ``X``.
        param : str, optional
            The parameter of the distribution, by default the first.
        max_terms : int
            Terms with smaller differences are drawn together.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            On the scale of the predictor, on which terms add up. The average is that of the
            training rows, term by term.

        Raises
        ------
        SpecificationError
            If there is no such row or parameter.
        """
        frame = self._new_rows(X)
        if not -len(frame) <= row < len(frame):
            raise SpecificationError(f"the table has {len(frame)} rows; there is no row {row!r}.")
        one = frame.iloc[[row]]
        names = self.family_.param_names
        name = param or names[0]
        lookup(dict.fromkeys(names), name, "distribution parameter")
        link = self.family_.links[names.index(name)].name
        contributions = self.term_contributions(one)[name].iloc[0]
        reference = _average_contributions(self.fit_, names.index(name))
        return plot_waterfall(
            contributions,
            reference.reindex(contributions.index),
            values=_row_values(self.fit_, names.index(name), one),
            max_terms=max_terms,
            title=f"row {one.index[0]}: {name}",
            xlabel=effect_label(name, link, "predictor of"),
            ax=ax,
        )

    def plot_pictures(
        self,
        X: Any = None,
        *,
        term: str | None = None,
        by: Literal["picture", "prediction"] = "picture",
        n_pictures: int = 6,
        axes: np.ndarray | None = None,
    ) -> np.ndarray:
        """Contact sheet of the pictures with the lowest and with the highest effects or risks.

        Parameters
        ----------
        X : DataFrame, optional
            By default the training rows, each scored by networks that had not seen it.
        term : str, optional
            Label of the deep term, by default the first that reads pictures.
        by : {"picture", "prediction"}
            Whether the picture's own effect or the whole predictor is low or high.
        n_pictures : int
            At each end.
        axes : (2, n_pictures) array of Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        (2, n_pictures) array of Axes
            Under each picture what it and the rest of the model add to the predictor.

        Raises
        ------
        SpecificationError
            If the model has no such term, its gate is closed, or it reads no pictures.
        DataError
            If the model was kept without its training pictures and ``X`` is not given.
        """
        check_is_fitted(self)
        effect = self._pictures_of(term)
        if X is None:
            first = effect.own_slots[0]
            if image_reader(self.fit_, first) is None:
                raise DataError("the model was kept without its training pictures; give X.")
            rows = scored_rows(self.fit_, first)
            frame = self.fit_.input_rows(rows)
            effects = _training_effects(self.fit_, effect).iloc[rows].set_axis(frame.index)
        else:
            frame = self._new_rows(X)
            frame = frame.iloc[np.flatnonzero(effect.reader.read(frame).present)]
            effects = self._picture_effects(frame, effect)
        return plot_contact_sheet(
            pixels(effect.reader, frame),
            effects,
            by=by,
            n_pictures=n_pictures,
            title=f"{effect.label}: lowest and highest "
            + ("effects" if by == "picture" else "predictions"),
            unit=self._effect_on(effect),
            axes=axes,
        )

    def plot_image_maps(
        self,
        X: Any,
        *,
        term: str | None = None,
        method: MapMethod = "grad_cam",
        axes: np.ndarray | None = None,
    ) -> np.ndarray:
        """Where in a picture its effect comes from.

        Parameters
        ----------
        X : DataFrame
            Up to eight rows.
        term : str, optional
            Label of the deep term, by default the first that reads pictures.
        method : {"grad_cam", "occlusion", "integrated_gradients"}
            See :func:`semistruct.inference.image_maps.image_maps`; the last two need captum.
        axes : (2, n) array of Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        (2, n) array of Axes
            Pictures with their effects, and maps on a common scale: purple places lower the
            predictor, orange ones raise it.

        Raises
        ------
        SpecificationError
            If there are too many rows, or the model has no such term or its gate is closed.
        DataError
            If no row has a picture.
        """
        frame = self._new_rows(X)
        effect = self._pictures_of(term)
        frame = frame.iloc[np.flatnonzero(effect.reader.read(frame).present)]
        if not 1 <= len(frame) <= _MAPS:
            raise DataError(f"maps are for 1 to {_MAPS} rows with pictures, got {len(frame)}.")
        return plot_image_maps(
            pixels(effect.reader, frame),
            image_maps(replace(effect, frame=frame), method),
            self._picture_effects(frame, effect)["picture"],
            title=f"{effect.label}: {_METHODS.get(method, method)}",
            unit=self._effect_on(effect) + ", by place",
            axes=axes,
        )

    def plot_embeddings(
        self,
        X: Any,
        colour: Any,
        *,
        term: str | None = None,
        method: PlaneMethod = "tsne",
        random_state: int = 0,
        ax: Axes | None = None,
    ) -> Axes:
        """Latent features of the pictures as points in a plane, coloured by a column.

        Parameters
        ----------
        X : DataFrame
        colour : str or array-like of n values
            A column of ``X``, or values for its rows: numbers or up to eight groups.
        term : str, optional
            Label of the deep term, by default the first.
        method : {"tsne", "umap", "pca"}
            "umap" needs umap-learn.
        random_state : int
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes

        Raises
        ------
        SpecificationError, DataError
            If there is no such term, column or method, or the column cannot be shown by colours.
        """
        frame = self._new_rows(X)
        table = self.embeddings(frame)
        if not table.shape[1]:
            raise SpecificationError("the model has no deep term, and so no latent features.")
        label = term or str(table.columns[0][0])
        lookup(dict.fromkeys(map(str, table.columns.unique(0))), label, "deep term")
        if isinstance(colour, str):
            if not isinstance(X, pd.DataFrame) or colour not in X.columns:
                raise DataError(f"the table has no column {colour!r}.")
            values = X[colour]
        else:
            check_length(len(frame), colour, "colour")
            values = pd.Series(np.asarray(colour), name=getattr(colour, "name", None) or "colour")
        table = table[label].set_axis(pd.RangeIndex(len(frame)), axis=0)
        plane = embedding_plane(table, method, random_state)
        return plot_embedding_plane(
            plane,
            values.set_axis(table.index).loc[plane.index],
            title=f"{label}: pictures by {values.name}",
            axis=_AXES[method],
            ax=ax,
        )

    def _effect_on(self, effect: PictureEffect) -> str:
        family = self.family_
        return effect_label(family.param_names[effect.param], family.links[effect.param].name)

    def _pictures_of(self, term: str | None) -> PictureEffect:
        """The deep term with this label, or the first that reads pictures."""
        deep = self.fit_.deep
        labels = list(dict.fromkeys(slot.term.label for slot in deep.slots)) if deep else []
        if term is not None:
            lookup(dict.fromkeys(labels), term, "deep term")
            labels = [term]
        if not labels:
            raise SpecificationError("the model has no deep term that reads pictures.")
        for label in labels[:-1]:
            try:
                return PictureEffect.of(self.fit_, label, pd.DataFrame(), self._device())
            except SpecificationError:
                continue  # the next may read pictures; the last says why it does not
        return PictureEffect.of(self.fit_, labels[-1], pd.DataFrame(), self._device())

    def _picture_effects(self, frame: pd.DataFrame, effect: PictureEffect) -> pd.DataFrame:
        """What pictures and all else add to the predictor of new rows, all with pictures."""
        table = self.term_contributions(frame)[self.family_.param_names[effect.param]]
        own = table[[effect.deep.slots[t].label for t in effect.own_slots]].sum(axis=1)
        return pd.DataFrame({"picture": own, "table": table.sum(axis=1) - own})


def _average_contributions(fit: ModelFit, k: int) -> pd.Series:
    """Weighted means over the training rows of what every term adds to predictor k."""
    problem, predictor = fit.problem, fit.predictor
    weight = problem.sample_weight / problem.sample_weight.sum()
    design, block, beta = problem.designs[k], problem.blocks[k], predictor.beta[k]
    column_means = block.rmatvec(weight)
    found = {label: float(column_means[at] @ beta[at]) for label, at in design.slices.items()}
    if design.offsets:
        found["offset"] = float(weight @ problem.offset[:, k])
    if fit.deep is not None:
        for t, slot in enumerate(fit.deep.slots):
            if slot.param == k:
                found[slot.label] = float(
                    weight @ fit.deep.scores[:, t] * fit.deep.calibration.gamma[t]
                )
    return pd.Series(found)


def _training_effects(fit: ModelFit, effect: PictureEffect) -> pd.DataFrame:
    """What the picture and all other terms add to the predictor of every training row."""
    k, slots = effect.param, effect.own_slots
    scaled = effect.deep.scores * effect.deep.calibration.gamma
    own = scaled[:, list(slots)].sum(axis=1)
    others = [t for t, slot in enumerate(effect.deep.slots) if slot.param == k and t not in slots]
    table = fit.problem.blocks[k].matvec(fit.predictor.beta[k]) + fit.problem.offset[:, k]
    return pd.DataFrame({"picture": own, "table": table + scaled[:, others].sum(axis=1)})


def _row_values(fit: ModelFit, k: int, one: pd.DataFrame) -> dict[str, str]:
    """The row's values of the columns that every table term reads."""
    found = {}
    for basis in fit.problem.designs[k].bases:
        if isinstance(basis, ParametricBasis):
            labels = {
                label: Parametric(label).variables
                for label, _ in basis.term_slices
                if label != "Intercept"
            }
        else:
            labels = {basis.label: basis.variables}
        for label, variables in labels.items():
            if all(name in one.columns for name in variables):
                found[label] = ", ".join(_written(one[name].iloc[0]) for name in variables)
    return found


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
