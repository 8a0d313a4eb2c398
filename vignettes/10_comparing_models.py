# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is it better? Comparing models on the same folds
#
# A claim that pictures help needs four things: the table alone and the pictures alone as rivals,
# the same folds for all models, an interval for the *difference*, and no tuning on the rows that
# judge. `ss.compare` does these by default.
#
# ## A table with pictures
#
# The pictures are handwriting; high digits raise `y`. Two ways to use them are compared. Because
# the joint model has a formula, its baselines are known and are added: a model of nothing, the
# table only, the picture only.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from lifelines import WeibullAFTFitter
from lifelines.datasets import load_gbsg2
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

import semistruct as ss

study = ss.datasets.simulate_digits(800, random_state=2)
X, y = study[["age", "bmi", "digit"]], study["y"]
quick = {"n_folds": 3, "n_repeats": 1, "max_epochs": 15, "progress": False}
models = {
    "joint": ss.SemiStructuredRegressor("age + s(bmi) + cnn(digit)", **quick),
    "early, tuned": GridSearchCV(
        ss.EarlyFusion(Ridge(), {"digit": ss.ImageFeatures("pca", n_components=10)}),
        {"estimator__alpha": [1.0, 100.0]},
        cv=3,
    ),
}
scratch = Path(tempfile.mkdtemp())
found = ss.compare(models, X, y, cv=3, checkpoint=scratch / "digits.jsonl", progress=False)
found

# %% [markdown]
# The search was tuned anew inside every training fold, so its score is honest; what it chose is in
# `chosen_parameters()`. A ridge regression predicts a number and no distribution, so it has no log
# score: the table says so instead of making one up.
#
# Every model has good and bad folds, and they are the same folds. So the difference to a rival is
# known better than either score. The intervals allow for training sets that overlap (Nadeau and
# Bengio 2003); the usual t interval over folds does not, and is far too short.

# %%
found.differences(reference="table only").round(3)

# %%
found.plot(reference="table only")
plt.show()

# %% [markdown]
# ## Going on after an interruption
#
# Every finished fit is a line of the checkpoint. The same call after a crash goes on where it
# stopped, and ends with the same numbers; here nothing is left to do.

# %%
again = ss.compare(models, X, y, cv=3, checkpoint=scratch / "digits.jsonl", progress=False)
(
    bool((again.scores() == found.scores()).all(axis=None)),
    len((scratch / "digits.jsonl").read_text().splitlines()),
)

# %% [markdown]
# ## Survival models of several packages
#
# 686 women with breast cancer, from lifelines: a Cox model with straight lines, one with curves, an
# additive model of the hazard, and lifelines' Weibull model. The scores are Harrell's concordance
# and the integrated Brier score, with weights for censoring from the training rows.

# %%
women = load_gbsg2()
women["horm"] = (women["horTh"] == "yes").astype(float)
follow_up = ss.Surv(women["time"] / 365.25, women["cens"])
women = women[["age", "tsize", "pnodes", "progrec", "horm"]].assign(
    progrec=np.log1p(women["progrec"])
)
survival = ss.compare(
    {
        "Cox, lines": ss.CoxPH("age + tsize + pnodes + progrec + horm"),
        "Cox, curves": ss.CoxPH("s(age) + s(tsize) + s(pnodes) + s(progrec) + horm"),
        "PAMM": ss.PAMM("s(tend) + s(age) + s(pnodes) + s(progrec) + horm", cuts=15),
        "Weibull (lifelines)": WeibullAFTFitter(),
    },
    women,
    follow_up,
    n_repeats=2,
    progress=False,
)
survival

# %% [markdown]
# Ranks, after Demsar (2006). Bars join what may be chance.

# %%
survival.plot_critical_difference("ibs")
plt.show()

# %% [markdown]
# The best of several owes something to luck: the note below the table says among how many it was
# chosen, and what the score is when the choice is made on the other folds.

# %%
print(survival.winner("ibs"))

# %% [markdown]
# For a paper, `print(survival.to_latex())`; in a notebook the comparison shows itself as a table.
# Groups of rows that belong together (`groups=`, the `id` of a `Surv`, or one picture that serves
# several rows) stay in one fold. A model that fails in a fold is reported and costs the others
# nothing; `failures()` has the messages. `n_jobs=2` fits two models at a time.
#
# What the ways to combine a table with pictures reach on real house prices and skin lesions is on
# the page of [benchmarks](../benchmarks.md).
