"""The inputs an objective acts on: found, named, grouped."""

from __future__ import annotations

import numpy as np
import pytest

from semistruct.exceptions import SpecificationError
from semistruct.objectives.sites import find_sites, site_groups
from semistruct.terms import cnn, deep, encoder, mlp
from tests._deep import frozen, make_deep_problem, picture_table


def sites_of(*terms, **options):
    frame = picture_table(40)
    return find_sites(make_deep_problem(frame, [terms, []], **options).blueprint)


def named(groups):
    return [[(site.term, site.input) for site in group] for group in groups]


def test_what_is_known_of_an_input():
    scan, u, table = sites_of(deep("scan", "u", "x", "group", latent_dim=5, fusion="mean"))
    assert (scan.input, u.input) == ("scan", "u") and scan.columns == ("scan",)
    assert scan.in_shape == (1, 6, 6) and {scan.latent_dim, u.latent_dim, table.latent_dim} == {5}
    assert table.columns == ("x", "group") and table.is_table and not u.is_table
    # The indicators of a factor are one variable.
    assert len(table.variables) == table.in_shape[0] and len(set(table.variables)) == 2
    assert np.bincount(table.variables).max() >= 2


def test_names():
    scan, table = sites_of(deep("scan", "x"))
    assert scan.is_called("scan") and not scan.is_called("table")
    assert table.is_called("table") and table.is_called("x") and table.is_called(table.input)


def test_frozen_features_are_not_trained():
    sites = sites_of(encoder("own", "u"), cnn("scan"), encoders={"own": frozen()})
    assert [site.trained for site in sites] == [False, True]
    assert sites[0].is_called("u")


def test_groups():
    sites = sites_of(deep("scan", "u"), mlp("x"))
    assert named(site_groups(sites, None)) == [
        [(0, "scan"), (0, "u")],
        [(1, "mlp(x)")],
    ]
    assert named(site_groups(sites, ("u",))) == [[(0, "u")]]
    assert named(site_groups(sites, ("u", "scan"))) == [[(0, "u"), (0, "scan")]]
    assert named(site_groups(sites, ("scan", "x"))) == [[(0, "scan"), (1, "mlp(x)")]]


def test_every_term_that_reads_all_of_them():
    sites = sites_of(deep("scan", "u"), deep("scan", "u", "x"))
    assert len(site_groups(sites, ("scan", "u"))) == 2


def test_across_terms_every_name_means_one_input():
    sites = sites_of(cnn("scan"), deep("scan", "u"), mlp("x"))
    with pytest.raises(SpecificationError, match=r"'scan' is read by cnn\(scan\) and deep"):
        site_groups(sites, ("scan", "x"))
    with pytest.raises(SpecificationError, match="no deep term reads 'mri'"):
        site_groups(sites, ("mri",))
