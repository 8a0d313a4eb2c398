"""What a comparison found: scores by fold, tables, paired differences, plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from semistruct._registry import lookup
from semistruct.estimators._composition import Kind
from semistruct.estimators.comparing.baselines import NULL, TABLE
from semistruct.estimators.comparing.checkpoint import Outcome
from semistruct.estimators.comparing.measures import Measure
from semistruct.estimators.comparing.winner import Winner, winner_of
from semistruct.estimators.comparing.written import written_table
from semistruct.evaluation.resampled import (
    ResampledMean,
    holm,
    mean_ranks,
    nemenyi_difference,
    resampled_mean,
)
from semistruct.exceptions import DataError, SpecificationError
from semistruct.plots.comparing import plot_critical_difference, plot_gains, plot_scores_of_models

__all__ = ["ModelComparison"]


@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison:
    """Scores of several models on the same folds.

    Attributes
    ----------
    outcomes : tuple of Outcome
        One for every fold and model.
    measures : tuple of Measure
        The first is what models are ordered by.
    models : tuple of str
    roles : dict of str to str
        Which models are baselines, and of what.
    kind : {"regressor", "classifier", "survival"}
    n_rows, n_groups : int
        Rows, and groups of rows that stay together.
    times : (T,) array
        At which survival is judged.
    """

    outcomes: tuple[Outcome, ...]
    measures: tuple[Measure, ...]
    models: tuple[str, ...]
    roles: Mapping[str, str]
    kind: Kind
    n_rows: int
    n_groups: int
    times: np.ndarray

    @property
    def folds(self) -> pd.DataFrame:
        """One row per model and fold: rows, scores, seconds, error."""
        rows = [
            {
                "model": o.model,
                "repeat": o.repeat,
                "fold": o.fold,
                "n_train": o.n_train,
                "n_test": o.n_test,
                **{m.name: o.scores.get(m.name, np.nan) for m in self.measures},
                "fit_seconds": o.fit_seconds,
                "score_seconds": o.score_seconds,
                "error": o.error,
            }
            for o in self.outcomes
        ]
        return pd.DataFrame(rows)

    def scores(self, metric: str | None = None) -> pd.DataFrame:
        """Scores by one metric: ``(repeat, fold)`` as rows, models as columns."""
        table = self.folds.pivot(
            index=["repeat", "fold"], columns="model", values=self._measure(metric).name
        )
        return table[list(self.models)].rename_axis(columns=None)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Means over the folds with corrected intervals, the best model first.

        Models that failed on a fold come last.

        Parameters
        ----------
        level : float
            Of the intervals of the scores themselves. To compare models use
            :meth:`differences`, whose intervals are narrower, since good and bad folds are the
            same for all.

        Returns
        -------
        DataFrame
            Indexed by model; per metric ``<metric>``, ``<metric> lower``, ``<metric> upper``, then
            ``fit seconds`` (mean of a fold) and ``folds`` (that were scored).
        """
        columns: dict[str, Any] = {}
        for measure in self.measures:
            means = self._means(measure, level)
            columns[measure.name] = {n: m.mean for n, m in means.items()}
            columns[f"{measure.name} lower"] = {n: m.lower for n, m in means.items()}
            columns[f"{measure.name} upper"] = {n: m.upper for n, m in means.items()}
        by_model = self.folds.groupby("model", sort=False)
        columns["fit seconds"] = by_model["fit_seconds"].mean()
        columns["folds"] = by_model["error"].agg(lambda errors: int((errors == "").sum()))
        table = pd.DataFrame(columns, index=list(self.models)).rename_axis("model")
        return table.loc[self._order(self.measures[0])]

    def differences(
        self, metric: str | None = None, reference: str | None = None, level: float = 0.95
    ) -> pd.DataFrame:
        """What every model gains over one of them on the same folds.

        Parameters
        ----------
        metric : str, optional
            By default the first.
        reference : str, optional
            By default the table-only baseline where there is one, else the model without
            covariates, else the first model.
        level : float

        Returns
        -------
        DataFrame
            Indexed by model, the best first: ``gain`` (positive is better, whichever way the
            metric goes), ``lower``, ``upper``, ``p``, ``p_holm`` (adjusted for the number of
            models) and ``folds`` (in which both were scored).

        References
        ----------
        Nadeau & Bengio (2003), Machine Learning 52, 239-281.
        """
        measure = self._measure(metric)
        reference = self._reference(reference)
        signed = measure.sign * self.scores(measure.name)
        rows = {}
        for name in self.models:
            if name != reference:
                gains = (signed[name] - signed[reference]).to_numpy()
                rows[name] = resampled_mean(gains, self._test_ratio(), level)
        table = pd.DataFrame(
            {
                "gain": {n: m.mean for n, m in rows.items()},
                "lower": {n: m.lower for n, m in rows.items()},
                "upper": {n: m.upper for n, m in rows.items()},
                "p": {n: m.p_value for n, m in rows.items()},
                "folds": {n: m.n_folds for n, m in rows.items()},
            }
        )
        table.insert(4, "p_holm", holm(table["p"].to_numpy()))
        table.attrs["reference"] = reference
        return table.rename_axis("model").sort_values("gain", ascending=False, kind="stable")

    def winner(self, metric: str | None = None) -> Winner:
        """The best of the models that are no baseline, and what its score owes to the choice.

        Models without a score in some fold are no candidates.

        Raises
        ------
        DataError
            If there is no candidate.
        """
        measure = self._measure(metric)
        return winner_of(self.scores(measure.name), measure, set(self.roles))

    def failures(self) -> pd.DataFrame:
        """Fits and scores that there are none of, with what the model said."""
        rows = []
        for o in self.outcomes:
            where = {"model": o.model, "repeat": o.repeat, "fold": o.fold}
            if o.error:
                rows.append({**where, "what": "fit", "message": o.error})
            rows += [{**where, "what": n, "message": text} for n, text in o.notes.items()]
        return pd.DataFrame(rows, columns=["model", "repeat", "fold", "what", "message"])

    def chosen_parameters(self) -> pd.DataFrame:
        """What searches chose: one row per model and fold with a search."""
        rows = [
            {"model": o.model, "repeat": o.repeat, "fold": o.fold, **o.chosen}
            for o in self.outcomes
            if o.chosen
        ]
        return pd.DataFrame(rows)

    def plot(
        self,
        metric: str | None = None,
        *,
        reference: str | None = None,
        level: float = 0.95,
        ax: Axes | None = None,
    ) -> Axes:
        """Forest plot of what models gain over one of them, as :meth:`differences`."""
        measure = self._measure(metric)
        table = self.differences(metric, reference, level)
        score = self.scores(measure.name)
        return plot_gains(
            table,
            table.attrs["reference"],
            measure.label,
            score.mean(),
            baselines=set(self.roles),
            level=level,
            ax=ax,
        )

    def plot_scores(
        self, metric: str | None = None, *, level: float = 0.95, ax: Axes | None = None
    ) -> Axes:
        """Scores of every fold, and their means with corrected intervals."""
        measure = self._measure(metric)
        means = self._means(measure, level)
        order = self._order(measure)
        return plot_scores_of_models(
            self.scores(measure.name)[order],
            pd.DataFrame(
                {n: [means[n].mean, means[n].lower, means[n].upper] for n in order},
                index=["mean", "lower", "upper"],
            ).T,
            measure.label,
            baselines=set(self.roles),
            level=level,
            ax=ax,
        )

    def ranks(self, metric: str | None = None) -> pd.Series:
        """Mean rank over the folds, 1 the best; models with failed folds are left out."""
        measure = self._measure(metric)
        signed = (measure.sign * self.scores(measure.name)).dropna(axis=1)
        found = pd.Series(mean_ranks(signed.to_numpy()), signed.columns)
        return found.sort_values(kind="stable").rename_axis("model")

    def plot_critical_difference(
        self,
        metric: str | None = None,
        *,
        test: str = "corrected",
        level: float = 0.95,
        ax: Axes | None = None,
    ) -> Axes:
        """Mean ranks, and bars that join models whose difference may be chance.

        Parameters
        ----------
        metric : str, optional
        test : {"corrected", "nemenyi"}
            What decides about chance: corrected resampled t tests of all pairs, adjusted by Holm,
            or Nemenyi's critical difference of ranks. The latter takes folds for independent data
            sets, which they are not, and finds too many differences.
        level : float
        ax : Axes, optional

        References
        ----------
        Demsar (2006), Journal of Machine Learning Research 7, 1-30.
        """
        measure = self._measure(metric)
        ranks = self.ranks(metric)
        if len(ranks) < 2:
            raise DataError("ranks are of two models or more that were scored in every fold.")
        scores = (measure.sign * self.scores(measure.name))[list(ranks.index)]
        J, M = scores.shape
        if test == "nemenyi":
            width = nemenyi_difference(M, J, level)
            same = np.abs(ranks.to_numpy()[:, None] - ranks.to_numpy()) < width
            how = f"critical difference {width:.2f} (Nemenyi, {J} folds)"
        elif test == "corrected":
            same = self._alike(scores.to_numpy(), level)
            how = "corrected resampled t tests, Holm"
        else:
            raise SpecificationError(f"test must be 'corrected' or 'nemenyi', got {test!r}.")
        return plot_critical_difference(ranks, same, measure.label, how, ax=ax)

    def to_latex(self, level: float = 0.95) -> str:
        """The table for a paper (booktabs), the best of every metric in bold."""
        return written_table(self, level, "latex")

    def to_html(self, level: float = 0.95) -> str:
        """The table for a web page, the best of every metric in bold."""
        return written_table(self, level, "html")

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return written_table(self, 0.95, "text")

    def notes(self) -> tuple[str, ...]:
        """What a reader of the table has to know."""
        J = len({(o.repeat, o.fold) for o in self.outcomes})
        repeats = len({o.repeat for o in self.outcomes})
        rows = f"{self.n_rows} rows"
        if self.n_groups < self.n_rows:
            rows += f" in {self.n_groups} groups that stay together"
        how = f"{J // repeats} folds" + (f", {repeats} times" if repeats > 1 else "")
        found = [f"{how}; {rows}. Intervals are corrected for overlapping training sets."]
        complete = self.scores().dropna(axis=1).columns
        if len([name for name in complete if name not in self.roles]) > 1:
            found.append(f"{self.winner()}{self._over_baseline()}")
        failures = self.failures()
        failed = failures[failures["what"] == "fit"]
        if len(failed):
            names = ", ".join(repr(name) for name in failed["model"].unique())
            found.append(f"{len(failed)} fits failed, of {names}: means are over the other folds.")
        missing = failures[failures["what"] != "fit"].drop_duplicates(["model", "what"])
        for name, own in missing.groupby("model", sort=False):
            told = "; ".join(dict.fromkeys(text.rstrip(".") for text in own["message"]))
            found.append(f"{name!r} has no {', '.join(own['what'])}: {told}.")
        return tuple(found)

    def _over_baseline(self) -> str:
        """Whether the winner is better than the best baseline of one modality."""
        measure = self.measures[0]
        signed = (measure.sign * self.scores()).dropna(axis=1)
        rivals = [n for n, role in self.roles.items() if role != NULL and n in signed.columns]
        if not rivals:
            return ""
        best = str(signed[rivals].mean().idxmax())
        gains = (signed[self.winner().model] - signed[best]).to_numpy()
        gain = resampled_mean(gains, self._test_ratio())
        return f" Over {best!r} it gains {gain.mean:+.3g} [{gain.lower:.3g}, {gain.upper:.3g}]."

    def _measure(self, metric: str | None) -> Measure:
        if metric is None:
            return self.measures[0]
        return lookup({m.name: m for m in self.measures}, metric, "metric")

    def _reference(self, reference: str | None) -> str:
        if reference is not None:
            return lookup({name: name for name in self.models}, reference, "model")
        for role in (TABLE, NULL):
            for name, own in self.roles.items():
                if own == role:
                    return name
        return self.models[0]

    def _order(self, measure: Measure) -> list[str]:
        """Models from best to worst, those without a score in some fold after the others."""
        scores = measure.sign * self.scores(measure.name)
        found = pd.DataFrame({"missing": scores.isna().sum(), "score": -scores.mean()})
        return [str(name) for name in found.sort_values(["missing", "score"], kind="stable").index]

    def _test_ratio(self) -> float:
        return float(np.mean([o.n_test / o.n_train for o in self.outcomes]))

    def _means(self, measure: Measure, level: float) -> dict[str, ResampledMean]:
        scores = self.scores(measure.name)
        ratio = self._test_ratio()
        return {n: resampled_mean(scores[n].to_numpy(), ratio, level) for n in self.models}

    def _alike(self, scores: np.ndarray, level: float) -> np.ndarray:
        """Pairs of models whose difference may be chance, ``(M, M)``."""
        M = scores.shape[1]
        first, second = np.triu_indices(M, 1)
        ratio = self._test_ratio()
        p_values = holm(
            np.array(
                [
                    resampled_mean(scores[:, i] - scores[:, j], ratio).p_value
                    for i, j in zip(first, second, strict=True)
                ]
            )
        )
        same = np.eye(M, dtype=bool)
        alike = ~(p_values < 1 - level)  # no difference at all has no p-value, and is none
        same[first, second] = same[second, first] = alike
        return same
