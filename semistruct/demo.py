"""``python -m semistruct.demo``: a joint model of a table and its pictures beside the truth.

The pictures are real handwriting, the outcome is simulated, so that every effect is known. Where
the environment variable ``SEMISTRUCT_DATA`` names a folder with the houses, they follow.
"""

from __future__ import annotations

import argparse
import os
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold

from semistruct.datasets import bmi_effect, load_houses, simulate_digits, true_contributions
from semistruct.datasets.locations import ENVIRONMENT_VARIABLE, find_folder
from semistruct.estimators import SemiStructuredRegressor
from semistruct.inference.curves import smooth_curve
from semistruct.plots.random_effects import plot_random_effect
from semistruct.plots.smooths import plot_smooth
from semistruct.plots.style import OKABE_ITO, describe, effect_label, styled

__all__ = ["DemoSize", "compare_houses", "coverage", "main", "recovery"]

TABLE = "age + sex + s(bmi) + re(center)"
JOINT = f"{TABLE} + cnn(digit)"
DEEP = ("loc", "cnn(digit)")
HOUSES = {
    "table only": "bedrooms + bathrooms + s(area)",
    "photo only": "cnn(frontal)",
    "table and photo": "bedrooms + bathrooms + s(area) + cnn(frontal)",
}
SEED = 0  # of the study that is shown: the default of simulate_digits
FIRST_OTHER_SEED = 1000  # the studies that coverage is counted over begin here
LEVEL = 0.95
_WIDTH = 88
_DPI = 90


@dataclass(frozen=True)
class DemoSize:
    """How much the demo computes.

    Attributes
    ----------
    n_train, n_test : int
        Rows of the study with handwriting; test rows whose picture was trained on are left out.
    n_studies : int
        Simulated studies over which the coverage of intervals is counted.
    n_folds, n_repeats : int
        Of the cross-fitted networks.
    max_epochs : int or None
        Of their training.
    """

    n_train: int = 1300
    n_test: int = 400
    n_studies: int = 100
    n_folds: int = 5
    n_repeats: int = 2
    max_epochs: int | None = None


QUICK = DemoSize(n_train=250, n_test=100, n_studies=5, n_folds=2, n_repeats=1, max_epochs=15)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo; plots and the printed summary are kept in a folder."""
    parser = argparse.ArgumentParser(prog="python -m semistruct.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder of plots")
    parser.add_argument("--quick", action="store_true", help="small and rough, to see that it runs")
    chosen = parser.parse_args(arguments)
    size = QUICK if chosen.quick else DemoSize()
    chosen.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    written = _show_digits(size, chosen.output)
    if find_folder("houses/houses.csv") is not None:
        written += _show_houses(size, chosen.output)
    else:
        _say(
            f"Set {ENVIRONMENT_VARIABLE} to a folder that holds the houses to see the same with "
            "real photographs and prices; semistruct.datasets.load_houses says what is expected."
        )
    files = ", ".join(path.name for path in written)
    _say(f"Written to {os.fspath(chosen.output)}{os.sep}: {files}")
    print(f"\n{time.perf_counter() - start:.0f} seconds")


def recovery(model: SemiStructuredRegressor, truth: pd.Series) -> pd.DataFrame:
    """Coefficients of the default estimand beside their true values.

    Parameters
    ----------
    model : SemiStructuredRegressor
        Fitted.
    truth : Series
        True coefficients of the first parameter by name.

    Returns
    -------
    DataFrame
        ``truth, estimate, lower, upper, inside``, in the order of ``truth``.
    """
    effects = model.effects(level=LEVEL).loc["loc"].loc[truth.index]
    table = effects[["coef", "lower", "upper"]].rename(columns={"coef": "estimate"})
    table.insert(0, "truth", truth)
    table["inside"] = (table["lower"] <= truth) & (truth <= table["upper"])
    return table


def coverage(n_studies: int, n: int) -> pd.DataFrame:
    """Share of simulated studies whose intervals hold the true coefficients.

    Parameters
    ----------
    n_studies : int
        Studies, each with new rows and a seed of its own.
    n : int
        Rows of each.

    Returns
    -------
    DataFrame
        By coefficient: ``coverage``, and ``mean error`` in standard errors.

    Notes
    -----
    The coefficients of the default estimand come from the model without the picture, so no network
    is needed to know their intervals; the covariance is the one used beside a picture.
    """
    inside, error = [], []
    for seed in range(FIRST_OTHER_SEED, FIRST_OTHER_SEED + n_studies):
        study = simulate_digits(n, random_state=seed)
        truth = _marginal_truth(study)
        model = SemiStructuredRegressor(TABLE, cov_type="sandwich").fit(study, study["y"])
        inside.append(recovery(model, truth)["inside"])
        error.append((model.params["loc"] - truth) / model.bse["loc"])
    return pd.DataFrame(
        {"coverage": pd.concat(inside, axis=1).mean(axis=1), "mean error": _mean(error)}
    )


def compare_houses(
    houses: pd.DataFrame, size: DemoSize, n_splits: int = 3
) -> tuple[pd.DataFrame, SemiStructuredRegressor]:
    """R2 of the logarithm of prices, on houses whose photo was not seen.

    Parameters
    ----------
    houses : DataFrame
        Of :func:`~semistruct.datasets.load_houses`.
    size : DemoSize
    n_splits : int

    Returns
    -------
    scores : DataFrame
        One row per model, a column per split and their ``mean``.
    joint : SemiStructuredRegressor
        The model of table and photo, as fitted in the first split.
    """
    groups = pd.factorize(pd.Series(houses["frontal"].array.content_keys()))[0]
    folds = GroupKFold(n_splits, shuffle=True, random_state=SEED)
    fitted = {}
    table = pd.DataFrame(index=list(HOUSES))
    for number, (train, test) in enumerate(folds.split(houses, groups=groups), start=1):
        for name, formula in HOUSES.items():
            model = _house_model(formula, size)
            model.fit(houses.iloc[train], houses["price"].iloc[train])
            expected = model.predict_params(houses.iloc[test])["loc"]
            true = np.log(houses["price"].iloc[test])
            table.loc[name, f"split {number}"] = r2_score(true, expected)
            fitted[name, number] = model
    return table.assign(mean=table.mean(axis=1)), fitted["table and photo", 1]


def _show_digits(size: DemoSize, output: Path) -> list[Path]:
    digits = simulate_digits(size.n_train + size.n_test, random_state=SEED)
    truth = _marginal_truth(digits)
    train, test = digits[: size.n_train], digits[size.n_train :]
    seen = train["digit"].array.content_keys()
    test = test[~np.isin(test["digit"].array.content_keys(), seen)]
    _head("Handwriting: the pictures are real, the outcome is simulated")
    _say(
        f"{len(train)} persons with age, sex, body mass index, center and one handwritten digit "
        "(scikit-learn's digits). Table and outcome y are made by the computer, so that every "
        "effect is known: high digits (6 to 9) raise y by 1.25, and are more frequent at high age."
    )
    _say(f"y ~ {JOINT}")
    model = SemiStructuredRegressor(
        JOINT,
        n_folds=size.n_folds,
        n_repeats=size.n_repeats,
        max_epochs=size.max_epochs,
        random_state=SEED,
    ).fit(train, train["y"])
    summary = str(model.summary())
    print(f"\n{summary}")
    written = [output / name for name in ("summary.txt", "model.png", "truth.png")]
    written[0].write_text(summary + "\n", encoding="utf-8")

    _head("Is it true?")
    print(f"\n{_text(recovery(model, truth))}")
    given = digits.attrs["truth"]["coefficients"]["age"]
    _say(
        "Truth is that of the estimand printed in the summary, 'marginal': the best model without "
        f"the picture. It gives age some of the digit's effect, hence {truth['age']:.4f} and not "
        f"the {given:.4f} that age has when the digit is held fixed."
    )
    counted = coverage(size.n_studies, size.n_train)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in counted["coverage"].items())
    _say(
        f"One study may be lucky. Of {size.n_studies} other simulated studies, the {LEVEL:.0%} "
        f"intervals held the truth in: {shares}."
    )
    _say_what_is_learned(model, train, test, truth["age"] - given)
    _save(model.plot(), written[1])
    _save(_plot_truth(model, digits, test, truth["age"] - given), written[2])
    return written


def _say_what_is_learned(
    model: SemiStructuredRegressor, train: pd.DataFrame, test: pd.DataFrame, age_slope: float
) -> None:
    """Prediction and the deep score on rows whose pictures were not seen."""
    table = SemiStructuredRegressor(TABLE).fit(train, train["y"])
    parts = true_contributions(test)
    score = model.term_contributions(test)[DEEP]
    beyond = _beyond_age(test, age_slope)
    if score.nunique() > 1:
        _say(
            f"On {len(test)} new persons the network's score correlates "
            f"{np.corrcoef(score, beyond)[0, 1]:.2f} with the true effect of the digit beyond "
            f"what age tells ({np.corrcoef(score, parts['digit'])[0, 1]:.2f} with the effect as "
            "such)."
        )
    else:
        _say("The networks did not help on rows they had not seen, so the picture is not used.")
    print(f"\nR2 of the outcomes of {len(test)} new persons:\n")
    for name, value in {
        "table only": table.score(test, test["y"]),
        "table and picture": model.score(test, test["y"]),
        "the true mean (nothing does better)": r2_score(test["y"], parts.sum(axis=1)),
    }.items():
        print(f"  {name:<36} {value:.3f}")


def _show_houses(size: DemoSize, output: Path) -> list[Path]:
    houses = load_houses(photos=["frontal"])
    _head("Houses: real photographs, real prices")
    _say(
        f"{len(houses)} Californian houses; R2 of the log price on houses not used in fitting, "
        "in three splits. The networks are trained from scratch on these photos alone; where two "
        "rows agree in a split, the photo did not help on unseen houses and was left out."
    )
    scores, model = compare_houses(houses, size)
    print(f"\n{_text(scores)}")
    _say(f"price ~ {HOUSES['table and photo']}, as fitted in the first split:")
    print(f"\n{model.summary()}")
    _save(model.plot(), output / "houses.png")
    return [output / "houses.png"]


def _house_model(formula: str, size: DemoSize) -> SemiStructuredRegressor:
    return SemiStructuredRegressor(
        formula,
        family="lognormal",
        n_folds=size.n_folds,
        n_repeats=1,
        max_epochs=size.max_epochs,
        n_jobs=2,
        progress=False,
        random_state=SEED,
    )


def _plot_truth(
    model: SemiStructuredRegressor, digits: pd.DataFrame, test: pd.DataFrame, age_slope: float
) -> Figure:
    """Curve, centers and deep scores, each with the truth drawn over it."""
    truth, orange = digits.attrs["truth"], OKABE_ITO[1]
    with styled():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.8, 3.2))
        plot_smooth(model.fit_, "loc", "s(bmi)", ax=left)
        bmi = smooth_curve(model.fit_, "loc", "s(bmi)")["x"]
        left.plot(bmi, bmi_effect(bmi) - truth["bmi_mean"], "--", color=orange, label="truth")
        plot_random_effect(model.fit_, "loc", "re(center)", ax=middle)
        names = [label.get_text() for label in middle.get_yticklabels()]
        middle.plot(
            [truth["center"][name] for name in names],
            middle.get_yticks(),
            "D",
            color=orange,
            markersize=4,
            label="truth",
        )
        score = model.term_contributions(test)[DEEP]
        beyond = _beyond_age(test, age_slope)
        right.plot(beyond, score, ".", color=OKABE_ITO[0], alpha=0.6, markersize=5)
        ends = [beyond.min(), beyond.max()]
        right.plot(ends, ends, "--", color=orange, label="truth")
        describe(
            right,
            "cnn(digit), new pictures",
            "",
            "true effect beyond what age tells",
            effect_label("loc", "identity"),
        )
        for ax in (left, middle, right):
            lines = [line for line in ax.get_lines() if line.get_label() == "truth"]
            ax.legend(lines, ["truth"], loc="upper left")
    return figure


def _marginal_truth(digits: pd.DataFrame) -> pd.Series:
    return pd.Series(digits.attrs["truth"]["coefficients_marginal"], name="truth")


def _beyond_age(rows: pd.DataFrame, age_slope: float) -> pd.Series:
    """True effect of the picture less its straight line in age, centred."""
    effect = true_contributions(rows)["digit"] - age_slope * rows["age"]
    return effect - effect.mean()


def _mean(columns: list[pd.Series]) -> pd.Series:
    return pd.concat(columns, axis=1).mean(axis=1)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _text(table: pd.DataFrame) -> str:
    shown = table.replace({True: "yes", False: "no"})
    return shown.to_string(float_format="{:.3f}".format)


def _head(title: str) -> None:
    print(f"\n{title}\n{'=' * len(title)}")


def _say(text: str) -> None:
    lines = textwrap.wrap(text, _WIDTH, break_on_hyphens=False, break_long_words=False)
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
