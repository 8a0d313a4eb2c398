"""Structured fits from formulas, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from semistruct.design import Design, build_design
from semistruct.families import Family, resolve_family
from semistruct.fitting.structured import StructuredFit, StructuredProblem, fit_structured
from semistruct.terms import parse_formula

__all__ = ["fit_formula", "make_problem", "predict_link"]


def make_problem(
    formulas: str | dict[str, str],
    frame: pd.DataFrame,
    y: np.ndarray,
    family: str | Family,
    sample_weight: np.ndarray | None = None,
) -> StructuredProblem:
    """Designs and blocks of every parameter; parameters not named are constant."""
    family = resolve_family(family)
    if isinstance(formulas, str):
        formulas = {family.param_names[0]: formulas}
    designs = tuple(
        build_design(parse_formula(formulas.get(name, "1")).terms, frame, sample_weight)
        for name in family.param_names
    )
    weight = np.ones(len(frame)) if sample_weight is None else np.asarray(sample_weight, float)
    return StructuredProblem(
        family=family,
        y=np.asarray(y, dtype=float),
        designs=designs,
        blocks=tuple(design.block(frame) for design in designs),
        offset=np.column_stack([design.offset(frame) for design in designs]),
        sample_weight=weight,
    )


def fit_formula(
    formulas: str | dict[str, str],
    frame: pd.DataFrame,
    y: np.ndarray,
    family: str | Family = "normal",
    sample_weight: np.ndarray | None = None,
    **options: Any,
) -> tuple[StructuredProblem, StructuredFit]:
    problem = make_problem(formulas, frame, y, family, sample_weight)
    return problem, fit_structured(problem, **options)


def predict_link(
    design: Design, fit: StructuredFit, k: int, new: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Predictor of parameter ``k`` at new rows and its Bayesian standard error."""
    X = design.block(new).dense()
    columns = fit.slices[k]
    se = np.sqrt(np.einsum("ij,jk,ik->i", X, fit.V[columns, columns], X))
    return X @ fit.beta[columns] + design.offset(new), se
