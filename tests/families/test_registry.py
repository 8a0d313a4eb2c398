"""Names, classes and values of families; families of a user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from semistruct.exceptions import SpecificationError
from semistruct.families import (
    FAMILIES,
    AutodiffFamily,
    Bernoulli,
    Gamma,
    Normal,
    Poisson,
    RowCurvature,
    resolve_family,
)
from semistruct.families.supports import REAL
from semistruct.links import Identity, Log


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_name_a_class_and_a_value_are_the_same(name):
    family = resolve_family(name)
    assert family == resolve_family(FAMILIES[name]) == resolve_family(family)
    assert resolve_family(family) is family


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("posson", "did you mean 'poisson'"),
        (3, "got 3 of type int"),
        (int, "a Family or a Family class"),
    ],
)
def test_refused_families(asked, message):
    with pytest.raises(SpecificationError, match=message):
        resolve_family(asked)


def test_link_options():
    assert Gamma(mean_link=Log()) == Gamma(mean_link="log") == Gamma()
    assert Gamma(mean_link="inverse") != Gamma()
    assert repr(Gamma(mean_link="inverse")) == "Gamma(mean_link='inverse')"
    with pytest.raises(SpecificationError, match="Known: cloglog, logit, probit"):
        Bernoulli(link="log")
    assert Poisson() != Gamma()


def test_the_answer_depends_on_the_link():
    eta, y = torch.tensor([[0.5]]).double(), torch.tensor([1.0]).double()
    values = {
        Bernoulli(link=k).contributions(eta, y).item() for k in ("logit", "probit", "cloglog")
    }
    assert len(values) == 3


def test_validation_of_other_containers():
    y = pd.Series([True, False, True], index=[5, 7, 9])
    assert Bernoulli().validate(y).tolist() == [1.0, 0.0, 1.0]
    assert Poisson().validate(np.array([1, 2], dtype=np.uint8)).dtype == np.float64


@dataclass(frozen=True, repr=False)
class Cauchy(AutodiffFamily):
    """A user's family: log-density, distribution function, quantiles, start."""

    param_names = ("loc", "scale")
    kernel_links = (Identity(), Log())
    links = (Identity(), Log())
    response = REAL

    def log_density(self, omega: Tensor, y: Tensor) -> Tensor:
        loc, log_scale = omega.unbind(-1)
        return -(((y - loc) / log_scale.exp()) ** 2).log1p() - log_scale - np.log(np.pi)

    def initial_theta(self, y: Tensor, weight: Tensor) -> Tensor:
        return torch.stack([y.median(), (y - y.median()).abs().median()])

    def distribution(self, eta: Tensor) -> torch.distributions.Cauchy:
        return torch.distributions.Cauchy(*self.theta(eta).unbind(-1))

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return self.distribution(eta).cdf(y)

    def theta_quantile(self, theta: Tensor, q: Tensor) -> Tensor:
        return torch.distributions.Cauchy(*theta.unbind(-1)).icdf(q)


def test_a_users_family_has_derivatives():
    family = resolve_family(Cauchy)
    eta = torch.tensor([[0.5, 0.3], [-1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([0.1, 3.0], dtype=torch.float64)
    scale = eta[:, 1].exp()
    z = (y - eta[:, 0]) / scale
    torch.testing.assert_close(family.score(eta, y)[:, 0], 2 * z / (1 + z**2) / scale)
    expected = family.curvature(eta, y, kind="expected")
    assert isinstance(expected, RowCurvature)
    np.testing.assert_allclose(expected.w[:, 0, 0], 0.5 / scale**2, rtol=1e-6)
    np.testing.assert_allclose(expected.w[:, 1, 1], 0.5, rtol=1e-6)
    assert family == Cauchy() and family != Normal()


def test_row_curvature_takes_rows_in_blocks():
    class Columns:
        def __init__(self, X: np.ndarray) -> None:
            self.X, self.shape = X, X.shape

        def gram(self, weights, other=None):
            return (self.X * weights[:, None]).T @ (self if other is None else other).X

    rng = np.random.default_rng(4)
    blocks = [Columns(rng.normal(size=(9, 2))), Columns(rng.normal(size=(9, 3)))]
    w = rng.normal(size=(9, 2, 2))
    w = w + w.swapaxes(1, 2)
    H = RowCurvature(w).gram(blocks)
    expected = sum(
        np.block(
            [
                [w[i, j, k] * np.outer(a.X[i], b.X[i]) for k, b in enumerate(blocks)]
                for j, a in enumerate(blocks)
            ]
        )
        for i in range(9)
    )
    np.testing.assert_allclose(H, expected)
