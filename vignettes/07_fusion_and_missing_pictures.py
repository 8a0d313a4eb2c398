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
# # Ways to join table and pictures, and what to do when pictures are missing
#
# There is more than one place where a table and a picture can meet:
#
# | where | here | coefficients of the table |
# |---|---|---|
# | before the model: features of the picture become columns | `EarlyFusion` | given the features |
# | one after the other: the picture explains what the table leaves | `TwoStage` | of the table |
# | inside one network, beside other columns | `deep(ct, age, fusion="gated")` | of the table |
# | as one more term of a formula | `cnn(ct)` | of the table |
# | after the models: predictions are combined | `LateFusion` | none of the whole |
#
# This page fits all of them to the same data. The pictures are handwriting; high digits (6 to 9)
# raise `y` by 1.25.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import semistruct as ss

study = ss.datasets.simulate_digits(900, random_state=2).drop(columns="center")
train, test = study[:600], study[600:]
quick = {
    "n_folds": 3,
    "n_repeats": 1,
    "max_epochs": 15,
    "progress": False,
    "random_state": 0,
}
rows = {}


def remember(name: str, model) -> None:
    rows[name] = {"R2 of new rows": model.score(test, test["y"])}


# %% [markdown]
# ## The table alone, and the picture as a term

# %%
table = ss.SemiStructuredRegressor("age + sex + s(bmi)").fit(train, train["y"])
term = ss.SemiStructuredRegressor("age + sex + s(bmi) + cnn(digit)", **quick)
term.fit(train, train["y"])
remember("table", table)
remember("term of a formula", term)

# %% [markdown]
# ## Early: features, then any model
#
# Ten principal components of the pixels, learned without the response, become columns
# `digit_0, ..., digit_9`. They are penalised together by `ridge()`. The estimator may be of another
# package: a fitter of lifelines, a model of scikit-learn.

# %%
components = f"ridge({', '.join(f'digit_{j}' for j in range(10))})"
early = ss.EarlyFusion(
    ss.SemiStructuredRegressor(f"age + sex + s(bmi) + {components}"),
    features={"digit": ss.ImageFeatures("pca", n_components=10)},
).fit(train, train["y"])
remember("early: principal components", early)

# %% [markdown]
# ## Two stages

# %%
stages = ss.TwoStage(ss.SemiStructuredRegressor("age + sex + s(bmi)", **quick), "cnn(digit)").fit(
    train, train["y"]
)
remember("two stages", stages)

# %% [markdown]
# ## One network for picture and columns
#
# `deep()` joins latent features: side by side (`"concat"`), weighted by a gate that sees which
# inputs are there (`"gated"`), summed, multiplied and so on. It can learn interactions of the
# picture with the columns, which nobody put into these data.

# %%
gated = ss.SemiStructuredRegressor(
    "age + sex + s(bmi) + deep(digit, age, fusion='gated')", **quick
).fit(train, train["y"])
remember("one network, gated", gated)

# %% [markdown]
# ## Late: combine predictions
#
# A model of the table and one of the picture, with weights learned from predictions of rows that
# the members had not seen. The two count the same effects twice, or not at all: pictures and age
# overlap here, and late fusion cannot know.

# %%
late = ss.LateFusion(
    {
        "table": ss.SemiStructuredRegressor("age + sex + s(bmi)"),
        "picture": ss.EarlyFusion(
            ss.SemiStructuredRegressor(components),
            features={"digit": ss.ImageFeatures("pca", n_components=10)},
        ),
    },
    combine="stack",
    cv=3,
    random_state=0,
).fit(train, train["y"])
remember("late: stacked", late)
print(late.weights_.round(2).to_dict())
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# The coefficients that go into a paper differ in their meaning, not only in their value. Given
# features of the picture, age has less to explain:

# %%
pd.DataFrame(
    {
        "table": table.params["loc"],
        "term of a formula": term.params["loc"],
        "two stages": stages.structured_.params["loc"],
        "early, given the features": early.estimator_.params["loc"],
    }
).loc[["Intercept", "age", "sex[T.male]"]].round(3)

# %% [markdown]
# ## Missing pictures
#
# A picture may be missing in training and prediction; nothing has to be imputed. Such a row takes
# part in the table's model as always, and in the whole model with the likelihood of a mixture. It is
# predicted by the mixture of all that its picture could have said, given its table: the effect of
# the picture is then zero on average, and the prediction is wider than with a picture.
# `modality_dropout` hides some pictures in training, so that the network learns to do without.

# %%
fewer = train.copy()
without = np.random.default_rng(0).random(len(fewer)) < 0.3
fewer.loc[fewer.index[without], "digit"] = None
holes = ss.SemiStructuredRegressor(
    "age + sex + s(bmi) + cnn(digit)", modality_dropout=0.1, **quick | {"max_epochs": 40}
)
holes.fit(fewer, fewer["y"])
gone = test.assign(digit=ss.ImageArray([None] * len(test), dtype=test["digit"].dtype))
black = test.assign(digit=ss.ImageArray(np.zeros((len(test), 1, 8, 8), np.uint8)))


def judged(model, rows) -> dict[str, float]:
    limits = model.predict_interval(rows, 0.9)
    inside = (limits["lower"] < test["y"]) & (test["y"] < limits["upper"])
    return {
        "mean log density": model.log_prob(rows, test["y"]).mean(),
        "width of 90 % intervals": (limits["upper"] - limits["lower"]).mean(),
        "their coverage": inside.mean(),
    }


pd.DataFrame(
    {
        "with pictures": judged(holes, test),
        "without: mixture": judged(holes, gone),
        "without: the table's model": judged(holes.table_model(), gone),
        "without: black pictures": judged(holes, black),
    }
).T.round(3)

# %% [markdown]
# In a `"gated"` fusion a missing input has weight zero, and the others share its place. If pictures
# are missing because of what they would show, say because the sickest could not be scanned, no
# method can repair that; an indicator of missingness in the table at least makes it visible.

# %%
missing = fewer.assign(scanned=np.where(without, "no", "yes"))
ss.SemiStructuredRegressor("age + sex + s(bmi) + scanned").fit(missing, missing["y"]).effects()

# %%
if gated.fit_.deep.calibration.gamma.any():
    gated.plot_pictures(term="deep(digit, age)", n_pictures=5)
    plt.show()
