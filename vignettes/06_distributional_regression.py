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
# # Distributional regression: more than a mean
#
# A regression of the mean says who has higher values. Often the question is another one: who is
# *less certain*, who is at risk of an *extreme* value, what do 90 % of such patients have? In
# distributional regression (Rigby and Stasinopoulos 2005) every parameter of the response's
# distribution has a predictor of its own, with smooths, random effects and pictures as terms.
#
# The data are simulated: the spread of `y` rises with age, and high digits in the picture raise the
# mean.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import semistruct as ss

study = ss.datasets.simulate_digits(1200, random_state=1)
rng = np.random.default_rng(0)
study["y"] += np.exp(0.05 * (study["age"] - 60)) * rng.normal(size=len(study))
train, test = study[:800], study[800:]

# %% [markdown]
# ## Only the mean
#
# The usual model has one standard deviation for everybody. Quantile residuals, plotted in groups of
# age, show that this is wrong: the points of a right model stay between the dashed lines. Those of
# the young fall, because their spread is overestimated, and those of the old rise.

# %%
mean_only = ss.SemiStructuredRegressor("age + sex + s(bmi) + re(center)").fit(train, train["y"])
residuals = mean_only.quantile_residuals()
ss.plots.plot_worms(residuals, train["age"].to_numpy(), groups=3, name="age")
plt.show()

# %% [markdown]
# ## A predictor for the scale
#
# A mapping gives each parameter its formula. The link of the scale is the logarithm, so effects on
# it are proportional.

# %%
both = ss.SemiStructuredRegressor(
    {"loc": "age + sex + s(bmi) + re(center)", "scale": "s(age)"}
).fit(train, train["y"])
print(both.summary())

# %%
both.plot(terms=["s(bmi)", "scale: s(age)"])
plt.show()

# %% [markdown]
# ## Does it pay?
#
# Proper scores on rows not seen: log-score and the continuous ranked probability score are better
# when smaller. The coverage of intervals has to be right in *every* group.


# %%
def scores(model: ss.SemiStructuredRegressor, rows: pd.DataFrame) -> dict[str, float]:
    theta = model.predict_params(rows)
    interval = model.predict_interval(rows, level=0.9)
    inside = (interval["lower"] <= rows["y"]) & (rows["y"] <= interval["upper"])
    old = rows["age"] > 67
    return {
        "log-score": -model.log_prob(rows, rows["y"]).mean(),
        "CRPS": ss.metrics.crps_normal(rows["y"], theta["loc"], theta["scale"]),
        "coverage, up to 67": inside[~old].mean(),
        "coverage, older": inside[old].mean(),
    }


pd.DataFrame({"mean only": scores(mean_only, test), "mean and scale": scores(both, test)}).round(3)

# %% [markdown]
# ## Pictures in any predictor
#
# `cnn(digit)` may stand in the predictor of each parameter. In truth the picture moves the mean and
# not the scale. A term is kept where its gain in log-likelihood on rows not seen is positive; a gain
# within its standard error, as that of the scale (the second row), is no evidence of an effect.

# %%
joint = ss.SemiStructuredRegressor(
    {
        "loc": "age + sex + s(bmi) + re(center) + cnn(digit)",
        "scale": "s(age) + cnn(digit)",
    },
    n_folds=3,
    n_repeats=1,
    max_epochs=25,
    progress=False,
    random_state=0,
).fit(train, train["y"])
joint.fit_.deep.calibration.table

# %%
pd.DataFrame({"mean and scale": scores(both, test), "with picture": scores(joint, test)}).round(3)

# %% [markdown]
# ## Quantiles
#
# Quantiles of one person at different ages come from the same distribution, so they never cross.

# %%
person = test.iloc[[0] * 41].assign(age=np.linspace(40, 80, 41))
quantiles = both.predict_quantile(person, [0.05, 0.25, 0.5, 0.75, 0.95])
fig, ax = plt.subplots(figsize=(6, 3.5))
for level in quantiles:
    ax.plot(person["age"], quantiles[level], color="#0072B2", linewidth=2.2 - 3 * abs(level - 0.5))
    ax.annotate(f" {level:.0%}", (80, quantiles[level].iloc[-1]), fontsize=8, va="center")
ax.set_xlim(38, 84)
ax.set_xlabel("age")
ax.set_ylabel("quantiles of y")
plt.show()

# %% [markdown]
# ## Other distributions
#
# Skewed, bounded, heavy-tailed, counts with too many zeros: the family is one word.
# Families that are not nested can be compared by AIC or, better, by log-scores on new rows.

# %%
positive = train.assign(cost=np.exp(train["y"] / 2))
later = test.assign(cost=np.exp(test["y"] / 2))
rows = {}
for family in ("normal", "gamma", "lognormal", "inverse_gaussian"):
    model = ss.SemiStructuredRegressor("age + sex + s(bmi) + re(center)", family)
    model.fit(positive, positive["cost"])
    log_score = -model.log_prob(later, later["cost"]).mean()
    rows[family] = {"AIC": model.aic_, "log-score of new rows": log_score}
pd.DataFrame(rows).T.round(3)
