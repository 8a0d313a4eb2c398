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
# # Models of the literature
#
# Many published models of tables and pictures are a likelihood, a network, a way to join its inputs
# and an objective for its features. Here these are options of the estimators, and `ss.zoo` has the
# combinations that were given names. A recipe takes the names of columns and returns an estimator
# that is not fitted:
#
# | recipe | what it is |
# |---|---|
# | `deep_surv`, `deep_conv_surv` | Cox, with a perceptron of columns or a network of pictures |
# | `wide_and_deep_survival`, `wide_and_deep` | the same beside linear effects; for classes |
# | `deep_corr_surv` | Cox, features of two views correlate first |
# | `concat_ae`, `cross_ae` | Cox, features reconstruct their own or every modality |
# | `cheerla_gevaert` | Cox, features of a patient are similar; whole modalities are dropped |
# | `multi_surv` | hazards in discrete time, maximum over modalities |
# | `deep_pamm` | piecewise-exponential additive model with pictures |
# | `semi_structured` | every parameter of a distribution has predictors |
# | `law_paige_russell`, `suel_ordinal` | house prices with three heads; ordered classes |
# | `jean_transfer` | a network that learned a proxy first |
# | `you_crop_yield` | a network and a Gaussian process in space |
# | `sirko_masks` | segmentation masks as columns |
#
# Sources, and what is changed, are at the [end](#sources-and-changes) of this page.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import semistruct as ss

print(ss.zoo.multi_surv("slide", "rna", table="age + s(bmi)").formula)
print(ss.zoo.law_paige_russell("street", "air", table="area", head="non_linear").formula)

# %% [markdown]
# ## Omics: many more columns than patients
#
# Two blocks of molecular measurements and three clinical columns; the log hazard is linear in the
# means of a few modules of genes. The blocks are columns of vectors in a DataFrame. Every model has
# the clinical columns as its structured part.

# %%
study = ss.datasets.simulate_omics(700, n_rna=300, n_methylation=100, random_state=3)
train, test = study[:300], study[300:]
y = ss.Surv(study["time"], study["event"])
y_train, y_test = y[:300], y[300:]
quick = {
    "n_folds": 3,
    "n_repeats": 1,
    "max_epochs": 20,
    "learning_rate": 5e-3,
    "progress": False,
    "random_state": 0,
}
clinical = "age + sex + stage"
models = {
    "clinical columns": ss.CoxPH(clinical),
    **{
        name: recipe("rna", "methylation", table=clinical, **quick)
        for name, recipe in {
            "ConcatAE": ss.zoo.concat_ae,
            "CrossAE": ss.zoo.cross_ae,
            "Cheerla and Gevaert": ss.zoo.cheerla_gevaert,
            "DeepCorrSurv": ss.zoo.deep_corr_surv,
            "MultiSurv": ss.zoo.multi_surv,
        }.items()
    },
}
for model in models.values():
    model.fit(train, y_train)
truth = ss.datasets.true_log_hazard(test)
concordance = {name: model.score(test, y_test) for name, model in models.items()}
concordance["true log hazard"] = ss.metrics.concordance_index(y_test, truth)
pd.Series(concordance, name="concordance on new patients").round(3).to_frame()

# %% [markdown]
# The networks are small and were trained for seconds. How they rank depends on the data: where the
# truth is linear, a Cox model with a ridge penalty on all columns is hard to beat; see `omics` among
# the benchmarks.
#
# What a clinical effect *is* does not depend on which network stands beside it. All Cox models report
# the coefficients of the model without molecular data:

# %%
pd.DataFrame(
    {name: model.params["log_hazard"] for name, model in models.items() if name != "MultiSurv"}
).round(3)

# %% [markdown]
# ## What the objectives do
#
# The history has every objective on the rows that a network did not train on: errors of
# reconstruction across modalities fall, canonical correlations (with a minus sign) do too.

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axis, (name, table) in zip(
    axes,
    {
        "CrossAE": models["CrossAE"].history_,
        "DeepCorrSurv": models["DeepCorrSurv"].pretraining_history_,
    }.items(),
    strict=True,
):
    column = next(c for c in table if c.startswith("held_out") and c != "held_out_loss")
    for _, own in table.dropna(subset=[column]).groupby("member"):
        axis.plot(own["epoch"], own[column], color="0.4")
    axis.set(title=name, xlabel="epoch", ylabel=column.replace("_", " "))
plt.show()

# %% [markdown]
# ## A patient without one of the modalities
#
# Cheerla and Gevaert's features are averaged over what is there, and whole modalities were dropped in
# training. A missing block is missing in the table, nothing has to be imputed:

# %%
without = test.copy()
without["rna"] = ss.TensorArray([None] * len(test), dtype=test["rna"].dtype)
pd.Series(
    {
        name: ss.metrics.concordance_index(y_test, models["Cheerla and Gevaert"].predict(rows))
        for name, rows in {"all data": test, "without genes": without}.items()
    }
).round(3)

# %% [markdown]
# ## Masks as columns
#
# Where a segmentation exists already, its masks are columns of numbers: the share of the area, the
# number of objects and their mean area, with coefficients like any other. Here the masks are strokes
# of handwritten digits.

# %%
digits = ss.datasets.simulate_digits(300, random_state=0)
ink = (digits["digit"].array.batch() > 110).astype(np.uint8)
digits["ink"] = ss.ImageArray(ink)
print(ss.mask_features(digits["ink"]).head(3).round(2))
sirko = ss.zoo.sirko_masks("ink", table="age + sex").fit(digits, digits["y"])
sirko.estimator_.effects()

# %% [markdown]
# ## Changing a recipe
#
# `network=` has options of the networks, everything else goes to the estimator. A recipe is only a
# formula and options, so that the next step away from it is to write these oneself:

# %%
print(ss.zoo.cross_ae("rna", "methylation", network={"latent_dim": 8}, modality_dropout=0.2))

# %% [markdown]
# ## Sources and changes
#
# Everywhere networks are trained on folds, so that the score of a row comes from networks that had
# not seen it; a gate drops them where they do not help there; and effects of the table keep the
# coefficients that they have without pictures. What else differs from the publication:
#
# - `deep_surv`: Katzman et al. (2018), BMC Medical Research Methodology 18, 24. A perceptron is the
#   log hazard ratio. *Changed*: tied times by Efron; baseline hazards and survival curves; one
#   default width instead of a random search.
# - `deep_conv_surv`: Zhu, Yao & Huang (2016), IEEE BIBM, 544-547. The same of a picture. *Changed*:
#   one picture for each subject instead of patches that all carry its follow-up.
# - `wide_and_deep`: Cheng et al. (2016), Workshop on Deep Learning for Recommender Systems, 7-10. A
#   logistic regression plus a perceptron. *Changed*: the wide part is maximum likelihood with
#   standard errors, without an L1 penalty.
# - `wide_and_deep_survival`: Pölsterl et al. (2020), ECML PKDD Workshops, 453-464. Clinical columns
#   enter linearly, a shape by a network. *Changed*: a missing scan adds nothing instead of excluding
#   the subject; any encoder in the place of a PointNet.
# - `deep_corr_surv`: Yao, Zhu, Zhu & Huang (2017), MICCAI, 406-414. Networks of two views correlate,
#   then predict. *Changed*: views may be missing or be more than two; a ridge on covariances; batches
#   of eight rows for each latent feature.
# - `concat_ae`, `cross_ae`: Tong, Mitchel, Chatlin & Wang (2020), BMC Medical Informatics and Decision
#   Making 20, 225. Codes reconstruct their own modality, or the others too. *Changed*: errors are in
#   units of each column's variation; missing modalities take no part.
# - `cheerla_gevaert`: Cheerla & Gevaert (2019), Bioinformatics 35, i446-i454. Features of a patient
#   are made similar, whole modalities are dropped in training. *Changed*: absence is a mask, never
#   zeros.
# - `multi_surv`: Vale-Silva & Rohr (2021), Scientific Reports 11, 13505; Gensheimer & Narasimhan
#   (2019), PeerJ 7, e6257. *Changed*: one score for all intervals unless `by` says otherwise; 15
#   intervals at quantiles of the event times instead of years.
# - `deep_pamm`: Kopper et al. (2022), PAKDD, 249-261. *Changed*: a picture is read once for a subject
#   instead of once for each interval; smoothing is chosen by the data.
# - `semi_structured`: Rügamer, Kolb & Klein (2024), The American Statistician 78, 88-99. *Changed*:
#   the orthogonalization is exact and the same for new rows, instead of within each mini-batch.
# - `law_paige_russell`: Law, Paige & Russell (2019), ACM Transactions on Intelligent Systems and
#   Technology 10, 54. *Changed*: attributes stay in the predictor under all three heads.
# - `suel_ordinal`: Suel et al. (2019), Scientific Reports 9, 6229. *Changed*: ordered classes have a
#   likelihood, the cumulative logit; pictures of a place are fused by their mean.
# - `jean_transfer`: Jean et al. (2016), Science 353, 790-794. *Changed*: the proxy is a stage of
#   training within each fold, and the network learns on afterwards.
# - `you_crop_yield`: You et al. (2017), AAAI, 4559-4565. *Changed*: the Gaussian process is a term of
#   the same likelihood, with its range and variance estimated, and has bands.
# - `sirko_masks`: Sirko et al. (2021), arXiv:2107.12283. *Changed*: masks are an input; what is counted
#   on them has coefficients with standard errors.
#
# The docstrings say more on each.
