from __future__ import annotations

import builtins
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semistruct.design import build_design
from semistruct.exceptions import SpecificationError
from semistruct.terms import (
    ResponseCall,
    TermList,
    cluster,
    cnn,
    deep,
    linear,
    mlp,
    offset,
    parse_formula,
    re,
    s,
    strata,
    te,
)
from semistruct.terms.formula import FUNCTIONS, SMOOTH_FUNCTIONS


def terms(text, **options):
    return parse_formula(text, **options).terms


def test_the_first_formula_of_the_design():
    parsed = parse_formula("price ~ bedrooms + s(area) + C(zipcode) + cnn(frontal)")
    assert parsed.response == "price"
    assert parsed.terms == (linear("bedrooms") + terms("C(zipcode)") + s("area") + cnn("frontal"))
    assert repr(parsed.terms) == "bedrooms + C(zipcode) + s(area) + cnn(frontal)"
    assert parsed.terms.variables == ("bedrooms", "zipcode", "area", "frontal")
    assert parsed.terms.intercept


def test_a_predictor_alone_has_no_response():
    assert parse_formula("age + s(bmi)").response is None
    assert parse_formula("~ age").response is None
    assert parse_formula("~ age").terms == terms("age")


@pytest.mark.parametrize(
    ("text", "intercept"),
    [
        ("1", True),
        ("x", True),
        ("x + 1", True),
        ("x - 1", False),
        ("0 + x", False),
        ("x + 0", False),
        ("-1 + x", False),
        ("x - 1 + 1", True),
        ("y ~ 0 + s(x)", False),
        ("(x - 1) + z", False),
    ],
)
def test_intercept(text, intercept):
    assert terms(text).intercept is intercept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s(x, bs='cr', k=5)", s("x", bs="cr", k=5)),
        ("s(x, by=z, m=2, lam=0.5)", s("x", by="z", m=2, lam=0.5)),
        ("s(x, knots=(0, 10))", s("x", knots=(0, 10))),
        ("s(x, knots=[-1.5, 10])", s("x", knots=(-1.5, 10))),
        ("te(x, z, k=(5, 6))", te("x", "z", k=(5, 6))),
        ("re(id)", re("id")),
        ("re(id, x)", re("id", "x")),
        ("s(`living area`)", s("living area")),
        ("cnn(img, latent_dim=8)", cnn("img", latent_dim=8)),
        ("cnn(img, by=s(tend))", cnn("img", by=s("tend"))),
        ("cnn(img, by=dose)", cnn("img", by=linear("dose"))),
        ("mlp(x, z, hidden=(16, 8), dropout=None)", mlp("x", "z", hidden=(16, 8), dropout=None)),
        ("deep(a, b, fusion='gated')", deep("a", "b", fusion="gated")),
        ("deep(a, b, bias=True)", deep("a", "b", bias=True)),
        ("offset(log(exposure))", offset("log(exposure)")),
        ("offset(-x / 2)", offset("-x/2")),
        ("strata(g)", strata("g")),
        ("cluster(id)", cluster("id")),
    ],
)
def test_calls_equal_constructors(text, expected):
    assert terms(text) == TermList.of(expected)
    assert hash(terms(text)) == hash(TermList.of(expected))


def test_marks_go_to_their_own_fields():
    found = terms("age + strata(center, sex) + cluster(id)")
    assert found.strata == ("center", "sex")
    assert found.cluster == "id"
    assert len(found) == 1
    assert found.variables == ("age", "center", "sex", "id")


def test_user_encoders_by_name():
    found = terms("resnet(ct, depth=18)", encoders=["resnet"]).deep[0]
    assert (found.encoder, found.variables, found.options) == ("resnet", ("ct",), (("depth", 18),))
    with pytest.raises(SpecificationError, match="unknown function 'resnet'"):
        terms("resnet(ct)")
    with pytest.raises(SpecificationError, match="cannot be called 's'"):
        terms("x", encoders=["s"])


def test_survival_responses():
    parsed = parse_formula("Surv(time, event, entry=start, id=pid) ~ age + re(pid)")
    assert parsed.response == ResponseCall(
        "Surv", ("time", "event"), (("entry", "start"), ("id", "pid"))
    )
    assert parsed.response_variables == ("time", "event", "start", "pid")
    parsed = parse_formula("Interval(lower, upper) ~ age")
    assert parsed.response == ResponseCall("Interval", ("lower", "upper"))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a*b", "a * b"),
        ("a:b", "a:b"),
        ("(a+b)^2", "(a + b)**2"),
        ("a/b - a", "a / b - a"),
        ("C( zip , ref = '98' )", "C(zip, ref='98')"),
        ("log(x+1)+poly(x,2)", "log(x + 1) + poly(x, 2)"),
        ("I(-x**2)", "I(-x**2)"),
        ("`living area`:`zip code`", "`living area`:`zip code`"),
        ('cols("gene_*")', "cols('gene_*')"),
        (".", "."),
        ("(a + b):c", "(a + b):c"),
        ("a * (b + c) * d", "a * (b + c) * d"),
        ("I(a - (b - c))", "I(a - (b - c))"),
        ("I(2 * (x / y) / (a * b))", "I(2 * (x / y) / (a * b))"),
    ],
)
def test_parametric_text_is_canonical_and_parses_to_itself(text, canonical):
    found = terms(text)
    assert repr(found) == canonical
    assert repr(terms(repr(found))) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "a + b:c + cnn(ct, latent_dim=8) + offset(log(e)) + strata(g) + cluster(`my id`) - 1",
        "mlp(x, cols('gene_*'), dropout=0.5)",
        "deep(`a b`, c, dims=(1, 2), fusion='gated', by=s(t))",
        "0",
        "1",
    ],
)
def test_repr_is_a_formula_of_the_same_terms(text):
    assert repr(terms(text)) == text
    assert terms(repr(terms(text))) == terms(text)


ERRORS = [
    # text, piece under the carets, words of the message
    ("price ~ lgo(area)", "lgo", "unknown function 'lgo'; did you mean 'log'"),
    ("price ~ spl(area)", "spl", "unknown function 'spl'"),
    ("price ~ a + s(area, kk=3)", "3", "no option 'kk'; did you mean 'k'"),
    ("price ~ s(x):z", "s(x)", r"written s\(x, by=z\)"),
    ("price ~ z * cnn(img)", "cnn(img)", "varies with z"),
    ("price ~ z:offset(x)", "offset(x)", "of its own"),
    ("log(price) ~ area", "log(price)", "family='lognormal'"),
    ("a + b ~ x", "a + b", "must be one column"),
    ("Surv(start, stop, event) ~ x", "Surv(start, stop, event)", "entry=start"),
    ("Surv(time, event, origin=a) ~ x", "a", "no option 'origin'"),
    ("Surv(time, status == 1) ~ x", "=", "expected"),
    ("y ~ x + Surv(a, b)", "Surv(a, b)", "before '~'"),
    ("y ~ x + y", "y", "cannot explain itself"),
    ("Surv(time, event) ~ s(time)", "time", "cannot explain itself"),
    ("y ~ s(log(x))", "log(x)", "column of the table first"),
    ("y ~ s('x')", "'x'", r"no quotes here: s\(x\)"),
    ("y ~ s(x, by=s(z))", "s(z)", "only deep terms"),
    ("y ~ s(x, k=n)", "n", "must be a number"),
    ("y ~ s(x, bs='nope')", "s(x, bs='nope')", "unknown smooth 'nope'"),
    ("y ~ cnn(a, b)", "cnn(a, b)", r"deep\(a, b\)"),
    ("y ~ cnn(a, by=sx(t))", "sx", "unknown function 'sx'"),
    ("y ~ cnn(a, by=3)", "3", "a smooth such as"),
    ("y ~ cnn()", "cnn()", "names no column"),
    ("y ~ x + 2", "2", "1 and 0 stand for the intercept"),
    ("y ~ 2 * x", "2", "is not a term"),
    ("y ~ 'x'", "'x'", "is not a term"),
    ("y ~ None", "None", "is not a term"),
    ("y ~ x**2", "x**2", r"I\(x\*\*2\)"),
    ("y ~ (a + b)**z", "z", "whole number"),
    ("y ~ (a + b)**99", "99", "whole number"),
    ("y ~ I(x**z)", "z", "exponent"),
    ("y ~ I(9**9**9)", "9**9", "exponent"),
    ("y ~ poly(x)", "poly(x)", "poly\\(x, degree\\)"),
    ("y ~ poly(x, 99)", "99", "from 1 to 20"),
    ("y ~ log(x, 2)", "log(x, 2)", "one expression"),
    ("y ~ log(C(x))", "C(x)", "several columns"),
    ("y ~ log(a:b)", "a:b", "not allowed here"),
    ("y ~ log(.)", ".", "several columns"),
    ("y ~ C(log(x))", "C(log(x))", "takes one column"),
    ("y ~ C(x, Sum)", "C(x, Sum)", "takes one column"),
    ("y ~ cols(gene)", "cols(gene)", "pattern in quotes"),
    ("y ~ offset(center(x))", "center(x)", "an offset may not"),
    ("y ~ offset('log(x)')", "'log(x)'", "not allowed here"),
    ("y ~ x - s(z)", "s(z)", "cannot be subtracted"),
    ("y ~ strata()", "strata()", "one or more columns"),
    ("y ~ cluster(a, b)", "cluster(a, b)", "one column"),
    ("y ~ bill.length", ".", "`bill.length`"),
    ("y ~ x z", "z", "put \\+ or :"),
    ("y ~ x +", "", "ends too early"),
    ("y ~ (x", "(", "not closed"),
    ("y ~ x)", ")", "not expected"),
    ("y ~ ()", "()", "empty parentheses"),
    ("y ~ x ~ z", "~", "at most one"),
    ("y ~ s(x, k=3, k=4)", "k", "given twice"),
    ("y ~ s(k=3, x)", "x", "without a name"),
    ("", "", "empty"),
    ("   ", "", "empty"),
    ("y ~ `a", "`", "not closed"),
    ("y ~ ``", "``", "empty name"),
    ("y ~ x > 3", ">", "comparison"),
    ("y ~ (1 | g)", "|", r"re\(group\)"),
    ("y ~ s(x, k=99999999999999999999999999999999999999999999999)", "9" * 47, "digits"),
    ("y ~ s(x, lam=1e999)", "1e999", "too large"),
]


@pytest.mark.parametrize(
    ("text", "piece", "message"), ERRORS, ids=[e[0] or "empty" for e in ERRORS]
)
def test_errors_point_at_the_piece(text, piece, message):
    with pytest.raises(SpecificationError, match=message) as caught:
        parse_formula(text)
    *_, shown, carets = str(caught.value).split("\n")
    assert set(carets.strip()) == {"^"}
    start = carets.index("^")
    assert shown[start : start + len(carets.strip())].strip() == piece
    assert shown.strip() == text.strip()


def test_the_error_of_a_long_formula_shows_a_window():
    text = "y ~ " + " + ".join(f"x{i}" for i in range(300)) + " + foo(z) + " + "w + " * 50 + "v"
    with pytest.raises(SpecificationError) as caught:
        parse_formula(text)
    *_, shown, carets = str(caught.value).split("\n")
    assert len(shown) < 110
    assert shown[carets.index("^") :].startswith("foo(z)")


def test_the_error_of_a_formula_of_several_lines_shows_its_line():
    with pytest.raises(SpecificationError) as caught:
        parse_formula("y ~ a\n  + foo(b)\n  + c")
    *_, shown, carets = str(caught.value).split("\n")
    assert shown.strip() == "+ foo(b)"
    assert shown[carets.index("^") :] == "foo(b)"


ATTACKS = [
    "__import__('os').system('touch /tmp/x')",
    "`__import__('os').system('x')`()",
    "log(__import__('os').system('x'))",
    "C.__class__",
    "C(x).__class__.__mro__",
    "x.__class__",
    "log.__globals__",
    "(lambda: 1)()",
    "lambda x: x",
    "(x := 3)",
    "f'{x}'",
    "log(f'{x}')",
    "[x for x in y]",
    "I([x for x in (1, 2)])",
    "I(x if y else z)",
    "{x + 1}",
    "{__import__('os')}",
    "y ~ {open('/etc/passwd').read()}",
    "I(open('/etc/passwd'))",
    "eval('1')",
    "I(eval('1'))",
    "exec('1')",
    "np.log(x)",
    "hashed(x)",
    "contr.treatment(x)",
    "C(x, contr.sum)",
    "lag(x)",
    "bs(x, df=3)",
    "getattr(x, 'y')",
    "I(getattr(x, '__class__'))",
    "s(x, k=__import__('os'))",
    "s(x, k=open('f'))",
    "s(**{'x': 1})",
    "s(*x)",
    "cnn(x, latent_dim=eval('1'))",
    "offset(eval('1'))",
    "offset(__import__('os'))",
    "x[0]",
    "x['a']",
    "I(x[0])",
    "x; import os",
    "import os",
    "x\\n",
    "@x",
    "x == 1",
    "not x",
    "x and y",
    "await x",
    "yield x",
    "print(x)",
    "I(print)()",
    "\x00",
    "x\x00",
    "'" + "a" * 10,
    '"""x"""',
    "I(" * 2000 + "x" + ")" * 2000,
    "(" * 100_000,
    "-" * 50_000 + "x**" * 3000,
    "**".join(["x"] * 3000),
    "*".join(["x"] * 3000),
    "*".join(f"x{i}" for i in range(38)),
    "(" + "+".join(f"x{i}" for i in range(200)) + ")**10",
    "I(9**9**9**9)",
    "s(x, k=" + "(" * 500 + ")" * 500 + ")",
    "x" * 300_000,
    "C(x, ref={'a': 1})",
    "Q('x')",
]


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_are_refused_and_nothing_runs(text, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was executed")

    monkeypatch.setattr(os, "system", refuse)
    for name in ("eval", "exec", "open"):
        monkeypatch.setattr(builtins, name, refuse)
    try:
        for wrapped in (text, f"y ~ a + {text}"):
            with pytest.raises(SpecificationError):
                parse_formula(wrapped, encoders=["resnet"])
    finally:
        monkeypatch.undo()


def test_a_column_may_have_any_name_in_backticks_and_stays_a_name():
    name = "__import__('os').system('x')"
    frame = pd.DataFrame({name: [1.0, 2.0, 4.0], "print": [1.0, 0.0, 0.0]})
    design = build_design(terms(f"`{name}` + print"), frame)
    assert design.names == ("Intercept", name, "print")


def test_formulaic_never_evaluates_an_expression(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("formulaic was asked to evaluate")

    monkeypatch.setattr("formulaic.materializers.base.stateful_eval", refuse)
    frame = pd.DataFrame(
        {"x": [1.0, 2.0, 4.0, 8.0], "g": list("abab"), "a b": [3.0, 1.0, 2.0, 2.0]}
    )
    text = "log(x) + C(g) + poly(x, 2) + I(`a b`**2):g + scale(x) - 1"
    with pytest.warns(UserWarning, match="linear combinations"):
        design = build_design(terms(text), frame)
    assert design.p <= 4


def test_names_of_python_mean_columns_and_nothing_else():
    """A name that is not a column is looked up in the table alone."""
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0]})
    for name in ("np", "C", "log", "print", "pd", "frame"):
        with pytest.raises(ValueError, match=f"needs the column '{name}'"):
            build_design(terms(f"x + {name}"), frame)


def test_a_column_may_be_called_like_a_function():
    frame = pd.DataFrame({"log": [1.0, 2.0, 4.0], "s": [1.0, 0.0, 0.0]})
    design = build_design(terms("log(log) + s"), frame)
    assert design.names == ("Intercept", "log(log)", "s")
    np.testing.assert_allclose(design.block(frame).dense()[:, 1], np.log(frame["log"]))


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60))
def test_any_text_parses_or_is_a_specification_error(text):
    check_text(text)


PIECES = [
    *("a", "b", "`c d`", "1", "0", "2", "1.5", "-", "+", "*", "/", ":", "**", "^", "(", ")", ","),
    *("=", ".", "~", "'t'", "[", "]", "None", "True", "k", "by", "bs", "ref", "cols", "Surv"),
    *(*FUNCTIONS, *SMOOTH_FUNCTIONS, "cnn", "mlp", "deep", "offset", "strata", "cluster"),
    *("s(x)", "C(z)", "poly(x, 2)", "cnn(i)", "cols('x*')", "y ~", "lambda", "__a", "{", "\n"),
]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_any_soup_of_tokens_parses_or_is_a_specification_error(pieces):
    check_text(" ".join(pieces))
    check_text("".join(pieces))


def check_text(text):
    try:
        parsed = parse_formula(text, encoders=["resnet"])
    except SpecificationError:
        return
    canonical = repr(parsed.terms)
    again = parse_formula(canonical, encoders=["resnet"])
    assert repr(again.terms) == canonical
    hash(parsed.terms)


@pytest.mark.parametrize("text", [None, 3, b"x", ["x"]])
def test_a_formula_is_a_string(text):
    with pytest.raises(SpecificationError, match="a formula is a string"):
        parse_formula(text)


def test_thousands_of_columns_written_out():
    names = [f"gene_{i}" for i in range(5000)]
    found = terms(" + ".join(names))
    assert found.variables == tuple(names)


def test_an_option_may_be_an_empty_tuple():
    terms = parse_formula("y ~ mlp(x, hidden=())").terms
    assert terms.deep[0].option == {"hidden": ()}
    assert parse_formula(terms.text()).terms == terms  # what is printed can be read
    with pytest.raises(SpecificationError, match="empty parentheses"):
        parse_formula("y ~ mlp(())")
    with pytest.raises(SpecificationError):
        parse_formula("y ~ s(x, k=())")
