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
# # Survival with pictures: Cox regression with one term more
#
# The pictures are real handwriting, the digits that ship with scikit-learn. The follow-up is
# simulated: the hazard depends on age, on a biomarker in a way that is not linear, and is 3.3 times
# higher (`exp(1.2)`) for people whose picture shows a high digit, 6 to 9. Two centers differ in
# their baseline hazard. Nearly half of the people are censored.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

import semistruct as ss

handwriting = load_digits()


def draw(rows: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(rows)
    study = pd.DataFrame(
        {
            "age": rng.uniform(40, 80, n),
            "marker": rng.uniform(-2, 2, n),
            "center": rng.choice(["north", "south"], n),
            "scan": ss.ImageArray((handwriting.images[rows, None] * 15).astype(np.uint8)),
        }
    )
    risk = (
        0.04 * (study["age"] - 60)
        + np.cos(2 * study["marker"])
        + 1.2 * (handwriting.target[rows] > 5)
    )
    scale = study["center"].map({"north": 8.0, "south": 5.0})
    time = scale * np.exp(-risk / 1.5) * rng.weibull(1.5, n)
    end = rng.uniform(1, 9, n)
    return study.assign(time=np.minimum(time, end), event=time <= end)


rng = np.random.default_rng(1)
pictures = rng.permutation(len(handwriting.images))
train, test = draw(pictures[:1000], rng), draw(pictures[1000:1700], rng)
train.head()

# %% [markdown]
# ## The table alone
#
# `strata(center)` gives each center a baseline hazard of its own. The response can stand in the
# formula, as in R, or be given as `ss.Surv(time, event)`.

# %%
table = ss.CoxPH("Surv(time, event) ~ age + s(marker) + strata(center)").fit(train)
print(table.summary())

# %% [markdown]
# Hazard ratios in the columns of lifelines, and the test of proportional hazards:

# %%
table.hazard_ratios()

# %%
table.check_assumptions()

# %% [markdown]
# ## With the picture
#
# Networks are trained on mini-batches with the people at risk within the batch; what is reported
# and predicted comes from the partial likelihood of everybody. Standard errors are Lin and Wei's
# robust ones, because the model of the table alone is now known to leave something out. Three
# folds and one network for each keep this page quick; the defaults train ten.

# %%
joint = ss.CoxPH(
    "Surv(time, event) ~ age + s(marker) + cnn(scan) + strata(center)",
    n_folds=3,
    n_repeats=1,
    random_state=0,
    progress=False,
).fit(train)
print(joint.summary())

# %%
joint.plot()
plt.show()

# %% [markdown]
# Harrell's concordance on new people, whose pictures no network has seen:

# %%
pd.Series(
    {
        "table": table.score(test),
        "table and picture": joint.score(test),
    }
).round(3)

# %% [markdown]
# ## Survival curves
#
# The same person with two pictures, with a 95 % band for the coefficients and the baseline hazard.

# %%
person = test.iloc[[0, 0]].reset_index(drop=True)
digit_of_test = handwriting.target[pictures[1000:1700]]
person["scan"] = test["scan"].array[[np.argmax(digit_of_test == 1), np.argmax(digit_of_test == 8)]]
curves = joint.predict_survival_function(person, level=0.95)

for column, (name, color) in enumerate((("a one", "C0"), ("an eight", "C1"))):
    curve = curves[column]
    plt.step(curve.index, curve["estimate"], where="post", color=color, label=f"shows {name}")
    plt.fill_between(
        curve.index, curve["lower"], curve["upper"], step="post", color=color, alpha=0.2
    )
plt.xlabel("time")
plt.ylabel("survival")
plt.ylim(0, 1)
plt.legend()
plt.show()

# %%
pd.DataFrame(
    {
        "median": joint.predict_median(person),
        "mean of the first 5": joint.predict_restricted_mean(person, 5.0),
        "hazard ratio": joint.predict_partial_hazard(person),
    }
).round(2)
