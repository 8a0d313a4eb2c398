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
# # House prices: what do photos add to a table?
#
# Ahmed and Moustafa (2016) collected 535 Californian houses with bedrooms, bathrooms, area, zip
# code, price and four photos each. Their question was how well the price can be predicted. Ours is
# the one that a paper has to answer: which part of the price is explained by the table, does the
# photo of the front say more, and what happens to the coefficients?
#
# The authors state no licence, so the photos do not come with the package.
# `load_houses(download=True)` fetches them once. Without them this page runs on simulated houses,
# in which the photo has an effect that we put there.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import semistruct as ss


def simulated_houses(n: int = 300) -> pd.DataFrame:
    """Houses whose photo shows how green the garden is, which the table does not tell."""
    rng = np.random.default_rng(0)
    garden = rng.uniform(0, 1, n)
    photo = rng.uniform(60, 120, (n, 3, 32, 32))
    photo[:, 2, :14] += 90.0  # sky
    photo[:, 1, 20:] += 130.0 * garden[:, None, None]
    houses = pd.DataFrame(
        {
            "bedrooms": rng.integers(1, 6, n),
            "area": rng.gamma(6.0, 400.0, n).round(),
            "zipcode": pd.Categorical(rng.choice([f"92{j:03d}" for j in range(12)], n)),
            "frontal": ss.ImageArray(photo.clip(0, 255).astype("uint8")),
        }
    )
    area = 0.9 * np.log(houses["area"] / 2000)
    zipcode = rng.normal(0, 0.2, 12)[houses["zipcode"].cat.codes]
    noise = rng.normal(0, 0.25, n)
    houses["price"] = 500_000 * np.exp(area + zipcode + 0.9 * (garden - 0.5) + noise)
    return houses


try:
    houses = ss.datasets.load_houses(size=32, photos=["frontal"])
    source = "the houses of Ahmed and Moustafa (2016)"
except ss.DataError:
    houses = simulated_houses()
    source = "simulated houses"
print(f"{len(houses)} rows: {source}")
houses.head()

# %% [markdown]
# ## The table
#
# Prices are positive and skewed, and effects are proportional, so the price is lognormal. A
# coefficient of 0.1 then is a price 10.5 % higher.

# %%
table = ss.SemiStructuredRegressor("bedrooms + s(area)", "lognormal")
table.fit(houses, houses["price"])
print(table.summary())

# %%
table.plot_diagnostics()
plt.show()

# %% [markdown]
# ## The photo as a term
#
# Small settings keep this page quick: three folds, one network for each, 10 epochs. Identical
# photos stay in one fold, because a network that has seen a photo knows its price.

# %%
joint = ss.SemiStructuredRegressor(
    "bedrooms + s(area) + cnn(frontal)",
    "lognormal",
    n_folds=3,
    n_repeats=1,
    max_epochs=10,
    progress=False,
    random_state=0,
).fit(houses, houses["price"])
print(joint.summary())

# %% [markdown]
# The last table says what the photos add on houses that the networks had not seen: the gain in
# log-likelihood with its standard error, and whether the gate let the term in. The coefficients
# above it are still those of the table, because the network's part is orthogonal to the columns of
# the table.

# %%
if joint.fit_.deep.calibration.gamma.any():
    joint.plot_pictures(n_pictures=5)
    plt.show()

# %% [markdown]
# ## Is it the photo, or the place?
#
# Houses of one street look alike. If zip codes are in the table as a random intercept, a photo that
# only tells where a house stands has nothing left to say. This check belongs into every such
# analysis.

# %%
placed = ss.SemiStructuredRegressor(
    "bedrooms + s(area) + re(zipcode) + cnn(frontal)",
    "lognormal",
    n_folds=3,
    n_repeats=1,
    max_epochs=10,
    progress=False,
    random_state=0,
).fit(houses, houses["price"])
pd.DataFrame(
    {
        "without zip code": joint.fit_.deep.calibration.table.iloc[0],
        "with zip code": placed.fit_.deep.calibration.table.iloc[0],
    }
)

# %% [markdown]
# For the real houses the answer is sobering: with the zip code in the table the photos add next to
# nothing. `benchmarks/` has the figures over several seeds.
#
# ## Why this price
#
# The terms of one house, from the average house down to its own prediction, on the log scale:

# %%
joint.plot_waterfall(houses, 0)
plt.show()
