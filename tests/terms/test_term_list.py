from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from semistruct.columns import ImageArray
from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import (
    TERMS,
    DeepTerm,
    Parametric,
    Term,
    TermList,
    add_terms,
    cluster,
    cnn,
    deep,
    default_terms,
    encoder,
    linear,
    mlp,
    offset,
    parse_formula,
    re,
    resolve_columns,
    s,
    strata,
)


def test_terms_add_up_to_what_the_formula_says():
    together = s("age") + linear("sex") + cnn("ct") + offset("log(e)") + strata("g") + cluster("id")
    assert isinstance(together, TermList)
    written = "sex + s(age) + cnn(ct) + offset(log(e)) + strata(g) + cluster(id)"
    assert parse_formula(written).terms == linear("sex") + together
    assert repr(together) == "s(age) + sex + cnn(ct) + offset(log(e)) + strata(g) + cluster(id)"
    assert [addend.label for addend in together] == [
        "s(age)",
        "parametric",
        "cnn(ct)",
        "offset(log(e))",
    ]
    assert together.variables == ("age", "sex", "ct", "e", "g", "id")


def test_variables_include_by():
    assert (s("x", by="z") + cnn("ct", by=s("t"))).variables == ("x", "z", "ct", "t")


def test_parametric_terms_become_one():
    together = linear("a") + s("x") + linear("b") + parse_formula("a*c").terms
    assert together.structured == (Parametric("a + b + a * c"), s("x"))


def test_equal_terms_count_once_but_offsets_add():
    assert (s("x") + s("x")).structured == (s("x"),)
    assert len((s("x") + s("x", k=5)).structured) == 2
    assert len((cnn("a") + cnn("a")).deep) == 1
    assert len((offset("e") + offset("e")).offsets) == 2


def test_minus_one_takes_the_intercept_away_and_it_stays_away():
    assert not (linear("a") - 1).intercept
    assert not ((linear("a") - 1) + s("x")).intercept
    assert not (s("x") + (linear("a") - 1)).intercept
    assert repr(linear("a") - 1) == "a - 1"
    assert repr(TermList()) == "1"
    assert repr(TermList() - 1) == "0"


@pytest.mark.parametrize("other", [1, "x", None, 2.0])
def test_only_terms_are_added(other):
    with pytest.raises(TypeError):
        s("x") + other
    with pytest.raises(TypeError):
        other + s("x")


def test_only_the_intercept_is_subtracted():
    for other in (2, True, linear("a"), "a"):
        with pytest.raises(TypeError):
            linear("a") - other


def test_equality_and_hash_are_by_value():
    one, two = linear("a") + cnn("ct", k=1, j=2), linear("a") + cnn("ct", j=2, k=1)
    assert one == two
    assert hash(one) == hash(two)
    assert one != linear("a") + cnn("ct")
    assert one != linear("a")
    assert pickle.loads(pickle.dumps(one)) == one


def test_term_lists_are_frozen():
    with pytest.raises(AttributeError):
        (linear("a") + linear("b")).intercept = False
    with pytest.raises(AttributeError):
        cnn("a").encoder = "mlp"


def test_add_terms_of_nothing_is_an_intercept():
    assert add_terms([]) == TermList()
    assert add_terms([linear("a"), s("x")]) == linear("a") + s("x")


def test_one_cluster_only():
    assert (cluster("a") + cluster("a")).cluster == "a"
    with pytest.raises(SpecificationError, match="one column"):
        cluster("a") + cluster("b")
    with pytest.raises(SpecificationError, match="one column"):
        parse_formula("cluster(a) + cluster(b)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp(), "names no column"),
        (lambda: deep("a", "a"), "a column twice"),
        (lambda: cnn("a", by="t"), "must be a term"),
        (lambda: cnn("a", hook=print), "must be a number"),
        (lambda: encoder("a b", "x"), "plain name"),
        (lambda: strata(), "names no column"),
        (lambda: linear(3), "must be strings"),
        (lambda: linear("a`b"), "rename the column"),
        (lambda: linear(""), "rename the column"),
        (lambda: Parametric(3), "written as a string"),
        (lambda: Parametric("s(x)"), "unknown function 's'"),
        (lambda: Parametric("y ~ x"), "a response is not allowed"),
        (lambda: offset("C(x)"), "several columns"),
    ],
)
def test_constructors_refuse(make, message):
    with pytest.raises(SpecificationError, match=message):
        make()


def test_deep_terms_are_plain_data():
    term = deep("a", "b", fusion="gated", dims=[1, 2])
    assert term.options == (("dims", (1, 2)), ("fusion", "gated"))
    assert term.option["fusion"] == "gated"
    assert term.label == "deep(a, b)"
    assert cnn("a", by=s("t")).label == "cnn(a, by=s(t))"
    assert repr(term) == "deep(a, b, dims=(1, 2), fusion='gated')"


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "y": [1.0, 2.0],
            "age": [30.0, 40.0],
            "living area": [1.0, 2.0],
            "gene_1": [0.1, 0.2],
            "gene_2": [0.3, 0.4],
            "sex": ["f", "m"],
            "ct": ImageArray(np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)),
        }
    )


def test_default_terms(table):
    found = default_terms(table)
    assert repr(found) == "y + age + `living area` + gene_1 + gene_2 + sex + cnn(ct)"
    assert default_terms(table[["ct"]]).structured == ()
    with pytest.raises(DataError, match="no columns"):
        default_terms(pd.DataFrame(index=[0, 1]))


def test_dot_is_every_tabular_column_not_used_otherwise(table):
    found = parse_formula("y ~ . + s(age) + C(sex) + cnn(ct)").terms
    assert repr(resolve_columns(found, table)) == (
        "`living area` + gene_1 + gene_2 + C(sex) + s(age) + cnn(ct)"
    )
    crossed = resolve_columns(
        parse_formula("y ~ sex:.").terms, table[["y", "age", "gene_1", "sex"]]
    )
    assert repr(crossed) == "sex:(age + gene_1)"


def test_dot_excludes_columns_named_by_the_caller(table):
    found = resolve_columns(parse_formula(". + mlp(age)").terms, table, exclude=["y", "sex"])
    assert repr(found) == "`living area` + gene_1 + gene_2 + mlp(age)"


def test_cols_selects_by_pattern(table):
    found = resolve_columns(parse_formula("y ~ cols('gene_*') + mlp(age, cols('g*'))").terms, table)
    assert repr(found) == "gene_1 + gene_2 + mlp(age, gene_1, gene_2)"
    assert isinstance(found.deep[0], DeepTerm)
    assert found.deep[0].variables == ("age", "gene_1", "gene_2")


def test_selectors_of_nothing_are_errors(table):
    with pytest.raises(DataError, match="matches no tabular column"):
        resolve_columns(parse_formula("cols('rna_*')").terms, table)
    with pytest.raises(DataError, match=r"'\.' stands for all"):
        resolve_columns(parse_formula("y ~ . + age").terms, table[["y", "age"]])


def test_terms_registry_holds_terms():
    assert all(issubclass(kind, Term) for kind in TERMS.values())
    assert {"parametric", "ps", "re", "te"} <= set(TERMS)


def test_smooths_and_random_effects_are_structured():
    assert (s("x") + re("g")).structured == (s("x"), re("g"))


def test_a_label_of_many_columns_names_the_outermost():
    few = mlp(*(f"g{i}" for i in range(12)))
    assert few.label == f"mlp({', '.join(f'g{i}' for i in range(12))})"
    many = mlp(*(f"g{i}" for i in range(3000)), by=s("tend"))
    assert many.label == "mlp(g0, g1, ..., g2999, by=s(tend))"
    assert many.text().count(",") == 3000  # what is written says all
