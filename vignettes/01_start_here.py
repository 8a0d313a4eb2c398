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

digits = ss.datasets.simulate_digits(n=600, random_state=0)
digits.head()

# %% [markdown]
# A picture is a value of a pandas column, so rows are selected, split and joined as usual.

# %%
train, test = digits.iloc[:500], digits.iloc[500:]
train["digit"].array.show(range(12))
plt.show()

# %% [markdown]
# ## A model
#
# In the formula the picture is one more term, next to linear effects, a smooth curve `s()` and a
# random intercept `re()`.

# %%
model = ss.SemiStructuredRegressor(
    "age + sex + s(bmi) + re(center) + cnn(digit)", n_folds=2, progress=False, random_state=0
)
model.fit(train, train["y"])
print(model.summary())

# %% [markdown]
# ## Which question a coefficient answers
#
# The default, `marginal`, is the coefficient of the best model *without* the picture. Since high
# digits go with high age, it gives age some of the picture's effect. The simulation knows that
# value too.

# %%
truth = pd.Series(digits.attrs["truth"]["coefficients_marginal"], name="truth")
print(truth, model.effects("marginal"), sep="\n\n")

# %% [markdown]
# ## Prediction
#
# A prediction is made row by row: a row gives the same number alone and among others.

# %%
prediction = model.predict(test)
interval = model.predict_interval(test, level=0.9)
print(f"R2 on new rows: {model.score(test, test['y']):.2f}")
interval.head()

# %% [markdown]
# ## Plots

# %%
model.plot()
plt.show()
