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
# # Coming from lifelines, mgcv, pycox or deepregression
#
# What you know under another name, and the numbers that have to agree.
#
# ## lifelines and R's survival
#
# | there | here |
# |---|---|
# | `CoxPHFitter().fit(df, "week", "arrest", formula="fin + age")` | `CoxPH("Surv(week, arrest) ~ fin + age").fit(df)` |
# | `coxph(Surv(time, event) ~ age + strata(center))` | `CoxPH("Surv(time, event) ~ age + strata(center)")` |
# | `cluster_col="id"`, `robust=True` | `cluster(id)` in the formula, `cov_type="sandwich"` |
# | `cph.check_assumptions(df)`, `cox.zph(fit)` | `model.check_assumptions()` |
# | `cph.predict_survival_function(df)` | `model.predict_survival_function(df, level=0.95)` |
# | `WeibullAFTFitter()`, `survreg()` | `SemiStructuredRegressor(formula, "weibull")` with `Surv` as response |
# | `frailty(id)` | `re(id)` |

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from lifelines.datasets import load_rossi

import semistruct as ss

rossi = load_rossi()
theirs = CoxPHFitter().fit(rossi, "week", "arrest", formula="fin + age + prio")
ours = ss.CoxPH("Surv(week, arrest) ~ fin + age + prio").fit(rossi)
pd.DataFrame(
    {
        "lifelines": theirs.params_,
        "semistruct": ours.params["log_hazard"],
        "se, lifelines": theirs.standard_errors_,
        "se, semistruct": ours.bse["log_hazard"],
    }
).round(5)

# %% [markdown]
# The difference is what comes next: `s(age)` is a curve with a chosen smoothness, and a column of
# pictures is one more term.

# %%
ss.CoxPH("Surv(week, arrest) ~ fin + s(age) + prio").fit(rossi).smooths().round(3)

# %% [markdown]
# ## statsmodels

# %%
import statsmodels.formula.api as smf

counts = smf.poisson("arrest ~ fin + age", rossi).fit(disp=False)
poisson = ss.SemiStructuredRegressor("arrest ~ fin + age", "poisson").fit(rossi)
pd.DataFrame({"statsmodels": counts.params, "semistruct": poisson.params["rate"]}).round(5)

# %% [markdown]
# ## mgcv
#
# The bases, their constraints, the scaling of penalties and REML are mgcv's, and so are the
# results: the tests compare them.
#
# | mgcv | here |
# |---|---|
# | `gam(y ~ x + s(z), method = "REML")` | `SemiStructuredRegressor("x + s(z)")` |
# | `s(z, bs = "tp")`, the default there | `s(z, bs="tp")`; the default here is `"ps"` |
# | `s(id, bs = "re")` | `re(id)` |
# | `te(x, z)`, `ti(x, z)`, `s(x, by = g)` | the same |
# | `s(x, bs = "ad")`, `"fs"`, `"mrf"`, `"gp"`, `"cc"` | the same |
# | `gam(list(y ~ s(x), ~ s(x)), family = gaulss())` | `SemiStructuredRegressor({"loc": "s(x)", "scale": "s(x)"})` |
# | `summary(b)$s.table` | `model.smooths()` |
# | `gam.check(b)`, `concurvity(b)` | `model.plot_diagnostics()`, `check_basis(model)`, `concurvity(model)` |
# | `select = TRUE`, `sp = 2` | `s(x, select=True)`, `s(x, lam=2)` |
# | `pamm()` of pammtools | `PAMM("s(tend) + ...")`; the data are split for you |

# %%
rng = np.random.default_rng(0)
wave = pd.DataFrame({"x": rng.uniform(0, 1, 300)})
wave["y"] = np.sin(2 * np.pi * wave["x"]) + rng.normal(0, 0.4, 300)
smooth = ss.SemiStructuredRegressor("y ~ s(x, bs='tp')").fit(wave)
smooth.plot(residuals=True)
plt.show()

# %% [markdown]
# ## pycox, DeepSurv
#
# `CoxPH` (DeepSurv), Cox-Time and others learn a hazard ratio by a network alone. Here a network is
# a term, beside terms that can be read:
#
# | pycox | here |
# |---|---|
# | `CoxPH(net)` on covariates (DeepSurv) | `CoxPH("mlp(x1, x2, x3)")` |
# | `CoxPH(cnn)` on images | `CoxPH("cnn(scan)")` |
# | `LogisticHazard(net)`, Nnet-survival | `DiscreteHazard("s(tend) + cnn(scan)")` |
# | your own `torch.nn.Module` | `encoders={"net": module}` and `net(scan)` in the formula |
# | early stopping on a validation set | cross-fitting; the epoch is chosen by rows not seen |
# | `EvalSurv(...).concordance_td()` | `metrics.antolini_concordance`, `metrics.integrated_brier_score` |

# %%
deep = ss.CoxPH(
    "Surv(week, arrest) ~ fin + mlp(age, prio)",
    n_folds=3,
    n_repeats=1,
    max_epochs=10,
    progress=False,
    random_state=0,
).fit(rossi)
deep.fit_.deep.calibration.table

# %% [markdown]
# On 432 men the network of two columns has no more to say than the linear terms, and the gate may
# drop it. That is a result, too.
#
# ## deepregression
#
# | deepregression (R) | here |
# |---|---|
# | `deepregression(y, list_of_formulas = list(loc = ~ 1 + s(x) + d(img), scale = ~ 1), ...)` | `SemiStructuredRegressor({"loc": "s(x) + cnn(img)", "scale": "1"})` |
# | `list_of_deep_models = list(d = net)` | `encoders={"d": module}` |
# | orthogonalization inside the network, per batch | a projection learned once and stored: predictions are row by row |
# | coefficients by stochastic gradients | by penalised Newton, with standard errors |
# | smoothing by fixed degrees of freedom, `df = 5` | REML, or `s(x, df=5)` |
# | `mixture`, `transformation` models | not here |
#
# ## scikit-learn
#
# All estimators have `fit`, `predict`, `score`, `get_params`, and work in `cross_val_score`,
# `GridSearchCV` and pipelines that keep DataFrames.

# %%
from sklearn.model_selection import cross_val_score

model = ss.SemiStructuredRegressor("s(x)")
cross_val_score(model, wave[["x"]], wave["y"], cv=5).round(2)

# %% [markdown]
# ## Keep the model
#
# `model.save()` writes tensors and plain values, no pickle; `ss.load()` runs no code of the file.

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "study.semistruct"
    ours.save(path)
    again = ss.load(path)
    print(f"{path.stat().st_size / 1024:.0f} kB")
bool((again.predict(rossi) == ours.predict(rossi)).all())
