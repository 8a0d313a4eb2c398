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
# # Gallery of plots
#
# Every plot returns matplotlib's axes, is drawn in colours that are safe for colour-blind readers,
# and leaves your own settings alone. The models are small ones of handwriting and simulated tables.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import semistruct as ss

study = ss.datasets.simulate_digits(900, random_state=0)
train, test = study[:700], study[700:]
model = ss.SemiStructuredRegressor(
    {"loc": "age + sex + s(bmi) + re(center) + cnn(digit)", "scale": "s(age)"},
    n_folds=3,
    n_repeats=1,
    max_epochs=25,
    progress=False,
    random_state=0,
).fit(train, train["y"])

# %% [markdown]
# ## A whole model

# %%
model.plot()
plt.show()

# %% [markdown]
# ## Why this prediction
#
# From the average of the training rows to the prediction of one row, the largest differences first.

# %%
model.plot_waterfall(test, 3)
plt.show()

# %% [markdown]
# ## Pictures at both ends
#
# Each training picture is scored by networks that had not seen it. Below a picture stand its own
# effect and that of the rest of the model; the frame has the colour of its effect.

# %%
model.plot_pictures(n_pictures=7)
plt.show()

# %% [markdown]
# ## Where in the picture
#
# Last features times their gradients, averaged over the networks. Purple places lower the
# predictor, orange ones raise it. Such maps show where networks look, not what causes the outcome.
# With captum there are `method="occlusion"` and `"integrated_gradients"` as well.

# %%
model.plot_image_maps(test[:6])
plt.show()

# %% [markdown]
# ## What the networks see as similar

# %%
effect = model.term_contributions(test)["loc", "cnn(digit)"].rename("effect of the picture")
model.plot_embeddings(test, effect)
plt.show()

# %% [markdown]
# ## Is the model right?
#
# Quantile residuals are standard normal if it is.

# %%
model.plot_diagnostics()
plt.show()

# %%
ss.plots.plot_worms(
    ss.SemiStructuredRegressor("age + sex + s(bmi)").fit(train, train["y"]).quantile_residuals(),
    train["age"].to_numpy(),
    groups=3,
    name="age",
)
plt.show()

# %% [markdown]
# ## Surfaces and groups

# %%
grid = train.assign(z=np.sin(train["age"] / 8) * (train["bmi"] - 27) / 6 + train["y"] / 4)
surface = ss.SemiStructuredRegressor("te(age, bmi) + s(bmi, by=sex) + re(center)")
surface.fit(grid, grid["z"]).plot()
plt.show()

# %%
ss.plots.plot_perspective(surface.fit_, "loc", "te(age,bmi)")
plt.show()

# %% [markdown]
# ## Survival: curves, numbers at risk, hazards, incidences

# %%
rng = np.random.default_rng(0)
time = 8 * np.exp(-0.03 * (train["age"] - 60)) * rng.weibull(1.4, len(train))
late = 9 * rng.exponential(size=len(train))
end = rng.uniform(4, 12, len(train))
observed = np.minimum.reduce([time, late, end])
cause = np.select([observed == end, observed == time], [0, 1], default=2)
y = ss.Surv(observed, cause, n_causes=2)

cox = ss.CoxPH("age + s(bmi) + sex").fit(train, y.of_cause(1))
ss.plots.survival_curves(cox, train, y.of_cause(1), by=train["sex"])
plt.show()

# %%
ss.plots.plot_forest(cox.fit_, "log_hazard")
plt.show()

# %%
causes = ss.PAMM({"hazard_1": "s(tend) + age + sex", "hazard_2": "s(tend) + age"}, cuts=20)
causes.fit(train, y)
person = pd.DataFrame({"age": [50.0, 75.0], "sex": ["female", "female"]}, ["age 50", "age 75"])
ss.plots.hazard_curves(causes, person, cause=1)
plt.show()

# %%
ss.plots.incidence_curves(causes, person[1:], kind="stacked")
plt.show()

# %% [markdown]
# ## Counts

# %%
counts = ss.datasets.simulate_digits(700, random_state=3, family="poisson")
poisson = ss.SemiStructuredRegressor("age + sex + s(bmi)", "poisson").fit(counts, counts["y"])
ss.plots.plot_rootogram(poisson.fit_)
plt.show()
