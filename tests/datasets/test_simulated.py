"""Simulated outcomes: reproducible, and the stated truth is the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from semistruct.datasets import bmi_effect, simulate_digits, simulate_strips, true_contributions
from semistruct.exceptions import SpecificationError

STANDARD_ERRORS = 4.0  # at fixed seeds; a wrong effect is dozens of standard errors off


def test_digits_are_reproducible_and_vary():
    first, again = simulate_digits(300, random_state=3), simulate_digits(300, random_state=3)
    pd.testing.assert_frame_equal(first.drop(columns="digit"), again.drop(columns="digit"))
    assert (first["digit"].array == again["digit"].array).all()
    other = simulate_digits(300, random_state=4)
    assert not np.allclose(first["age"], other["age"])
    assert first["digit"].dtype == "image[1, 8, 8; uint8]"


@pytest.mark.parametrize("family", ["normal", "lognormal", "poisson"])
def test_digits_truth_is_recovered_given_the_picture(family):
    frame = simulate_digits(6000, family=family)
    truth = frame.attrs["truth"]
    parts = true_contributions(frame)
    known = parts[["bmi", "center", "digit"]].sum(axis=1)
    y = np.log(frame["y"]) if family == "lognormal" else frame["y"]
    table = pd.DataFrame({"age": frame["age"], "sex": frame["sex"], "y": y, "known": known})
    if family == "poisson":
        fit = smf.poisson("y ~ age + sex", table, offset=known).fit(disp=False)
    else:
        fit = smf.ols("I(y - known) ~ age + sex", table).fit()
        assert np.isclose(np.sqrt(fit.scale), truth["scale"], rtol=0.05)
    for name, value in truth["coefficients"].items():
        assert abs(fit.params[name] - value) < STANDARD_ERRORS * fit.bse[name], name


def test_digits_marginal_truth_is_recovered_without_the_picture():
    frame = simulate_digits(6000, random_state=1)
    truth = frame.attrs["truth"]
    known = true_contributions(frame)[["bmi", "center"]].sum(axis=1)
    fit = smf.ols("I(y - known) ~ age + sex", frame.drop(columns="digit").assign(known=known)).fit()
    for name, value in truth["coefficients_marginal"].items():
        assert abs(fit.params[name] - value) < STANDARD_ERRORS * fit.bse[name], name
    # so the picture matters: the two questions have different answers
    gap = truth["coefficients_marginal"]["age"] - truth["coefficients"]["age"]
    assert gap > 5 * fit.bse["age"]


def test_contributions_are_centred_and_follow_their_rows():
    frame = simulate_digits(400)
    parts = true_contributions(frame)
    np.testing.assert_allclose(parts[["bmi", "digit"]].mean(), 0.0, atol=1e-12)
    chosen = frame.sample(50, random_state=0)
    pd.testing.assert_frame_equal(true_contributions(chosen), parts.loc[chosen.index])
    residual = frame["y"] - parts.sum(axis=1)
    assert abs(residual.std() - frame.attrs["truth"]["scale"]) < 0.1
    assert bmi_effect(22.0) < bmi_effect(17.0) < bmi_effect(35.0)


def test_pictures_repeat_only_when_used_up():
    def repeats(n):
        return n - len(set(simulate_digits(n)["digit"].array.content_keys()))

    assert repeats(1000) == 0
    assert repeats(4000) >= 4000 - 1797


def test_digits_of_few_rows():
    for n in (0, 1, 2):
        frame = simulate_digits(n)
        assert len(frame) == n and frame["digit"].array.batch().shape == (n, 1, 8, 8)


def test_strips_show_their_intensities():
    frame = simulate_strips(200)
    images = frame["image"].array.batch()
    v = images[:, 0, 0, [10, 30, 50]].astype(float)
    assert (images[:, 0, :, :20] == images[:, 0, :1, :1]).all()
    fit = smf.ols("y ~ z", pd.DataFrame({"y": v[:, 1], "z": frame["z"]})).fit()
    assert abs(fit.params["z"] - 0.5) < STANDARD_ERRORS * fit.bse["z"]
    assert ((v >= 0) & (v <= 1)).all()


def test_strips_truth():
    frame = simulate_strips(4000, random_state=1)
    v = frame["image"].array.batch()[:, 0, 0, [30, 50]]
    table = pd.DataFrame({"y": frame["y"], "z": frame["z"], "v": v.sum(axis=1)})
    truth = frame.attrs["truth"]
    for formula, key in (("y ~ z + v", "coefficients"), ("y ~ z", "coefficients_marginal")):
        fit = smf.ols(formula, table).fit()
        assert abs(fit.params["z"] - truth[key]["z"]) < STANDARD_ERRORS * fit.bse["z"]


def test_strips_other_responses():
    coin = simulate_strips(500, family="bernoulli")
    assert set(coin["y"]) == {0, 1}
    survival = simulate_strips(3000, family="exponential")
    assert abs(1 - survival["event"].mean() - 0.3) < 0.03 and (survival["time"] > 0).all()
    assert len(simulate_strips(0, family="exponential")) == 0


@pytest.mark.parametrize("simulate", [simulate_digits, simulate_strips])
def test_unknown_family(simulate):
    with pytest.raises(SpecificationError, match="choose from"):
        simulate(10, family="gamma")
