"""Terms: what a formula is made of, from the text to frozen bases and design blocks."""

from __future__ import annotations

from semistruct.terms.base import Basis, DesignBlock, Term, TermKind
from semistruct.terms.blocks import DenseBlock, IndexedBlock, SparseBlock, StackedBlock
from semistruct.terms.cumulative import Cumulative, cumulative
from semistruct.terms.deep import (
    DeepTerm,
    bag,
    cnn,
    cnn3d,
    conv1d,
    deep,
    default_encoder,
    encoder,
    mlp,
    recurrent,
)
from semistruct.terms.defaults import default_terms, resolve_columns
from semistruct.terms.formula import ParsedFormula, ResponseCall, parse_formula
from semistruct.terms.marks import cluster, strata
from semistruct.terms.offset import Offset, offset
from semistruct.terms.parametric import Parametric, ParametricBasis, linear
from semistruct.terms.pygam_terms import from_pygam
from semistruct.terms.ridge import Ridge, ridge
from semistruct.terms.smooths import SMOOTHS, re, s, te, ti
from semistruct.terms.tensor import TensorSmooth
from semistruct.terms.term_list import Addend, TermList, add_terms, foreign_terms

__all__ = [
    "Cumulative",
    "cumulative",
    "SMOOTHS",
    "TERMS",
    "Addend",
    "Basis",
    "DeepTerm",
    "DenseBlock",
    "DesignBlock",
    "IndexedBlock",
    "Offset",
    "Parametric",
    "ParametricBasis",
    "ParsedFormula",
    "ResponseCall",
    "SparseBlock",
    "StackedBlock",
    "Term",
    "TermKind",
    "TermList",
    "add_terms",
    "cluster",
    "bag",
    "cnn",
    "cnn3d",
    "conv1d",
    "deep",
    "default_encoder",
    "default_terms",
    "encoder",
    "foreign_terms",
    "from_pygam",
    "linear",
    "mlp",
    "recurrent",
    "offset",
    "parse_formula",
    "re",
    "resolve_columns",
    "ridge",
    "s",
    "strata",
    "te",
    "ti",
]

TERMS: dict[str, type[Term]] = {
    "parametric": Parametric,
    **SMOOTHS,
    "te": TensorSmooth,
    "ridge": Ridge,
}
