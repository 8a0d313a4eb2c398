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
# # Start here: a table in which one column is pictures
#
# The data are semi-synthetic. The pictures are real handwriting, the digits that ship with
# scikit-learn. Everything else is simulated: a person's age, sex, body mass index and center, and
# an outcome `y` that depends on all of them and on whether the written digit is high (6 to 9).
# High digits are more frequent at high age, so picture and table overlap. The true effects are
# known.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

import semistruct as ss

digits = ss.datasets.simulate_digits(1200, random_state=0)
digits.head()

# %% [markdown]
# A picture is a value of a pandas column, so rows are selected, split and joined as usual.

# %%
train, test = digits[:1000], digits[1000:]
train["digit"].array.show(range(12))

# %% [markdown]
# ## The table alone
#
# Without a picture in the formula the model is an additive one: linear effects, a smooth curve
# `s()` whose smoothness is chosen by restricted maximum likelihood, and a random intercept `re()`.
# It is fitted in a fraction of a second.

# %%
table = ss.SemiStructuredRegressor("age + sex + s(bmi) + re(center)")
table.fit(train, train["y"])
print(table.summary())

# %% [markdown]
# ## A picture is one more term
#
# `cnn(digit)` trains small networks, each on a part of the rows, and judges them on rows they did
# not see. The deep term stays only if it helps there; the last table of the summary says whether
# it did. By default there are ten networks; `n_repeats=1` makes it five, in half the time.

# %%
model = ss.SemiStructuredRegressor(
    "age + sex + s(bmi) + re(center) + cnn(digit)",
    n_repeats=1,
    progress=False,
    random_state=0,
)
model.fit(train, train["y"])
print(model.summary())

# %% [markdown]
# The network's part is made orthogonal to the columns of the table, so that it cannot take their
# effects over, and the coefficients are those of the table alone. What the picture changes is the
# standard errors, which no longer assume that the table's model is all there is, and the
# predictions.

# %%
pd.DataFrame(
    {
        "coefficient, table": table.params,
        "coefficient, joint": model.params,
        "se, table": table.bse,
        "se, joint": model.bse,
    }
).round(4)

# %% [markdown]
# ## Which question a coefficient answers
#
# The default estimand, `marginal`, is the coefficient of the best model *without* the picture.
# Since high digits go with high age, it gives age some of the picture's effect: 0.047 per year,
# although age has an effect of 0.03 when the digit is held fixed. The simulation knows both.

# %%
truth = digits.attrs["truth"]
beside = model.effects("marginal").loc["loc"]
beside.insert(0, "truth", pd.Series(truth["coefficients_marginal"]))
beside.insert(1, "digit fixed", pd.Series(truth["coefficients"]))
beside[["truth", "digit fixed", "coef", "lower", "upper"]].round(3)

# %% [markdown]
# ## Prediction
#
# Every row has a predictive distribution: `predict` is its mean, and there are intervals,
# quantiles, draws and log-densities. A row gives the same numbers alone and among others.

# %%
print(f"R2 on new rows: table {table.score(test, test['y']):.2f}", end=", ")
print(f"table and picture {model.score(test, test['y']):.2f}")

interval = model.predict_interval(test, level=0.9)
inside = (interval["lower"] <= test["y"]) & (test["y"] <= interval["upper"])
print(f"90 % intervals hold {inside.mean():.0%} of the new outcomes")
model.predict_params(test.head())

# %% [markdown]
# What each term adds to the predictor of a row, and how the network's part compares with the true
# effect of the digits, nearly all of which it had not seen before:

# %%
contributions = model.term_contributions(test)["loc"]
true = ss.datasets.true_contributions(test)
print(f"correlation with the truth: {contributions['cnn(digit)'].corr(true['digit']):.2f}")
contributions.head().round(2)

# %% [markdown]
# ## Plots
#
# Curves with bands, coefficients, centers, the network's scores, and the pictures with the lowest
# and the highest of them.

# %%
model.plot()
plt.show()

# %% [markdown]
# ## Where to go on
#
# * Other outcomes: `family="lognormal"`, `"gamma"`, `"poisson"`, `"bernoulli"` and more.
# * Every parameter of the distribution may have terms:
#   `{"loc": "age + cnn(digit)", "scale": "s(age)"}`.
# * Your own pictures: `ss.ImageArray.from_files(paths, size=64)` as a column of the table.
# * Your own network: `encoders={"resnet": module}` and `resnet(digit)` in the formula.
