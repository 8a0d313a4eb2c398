"""Deep terms: what a network shall read, as a specification without any network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from semistruct.exceptions import SpecificationError
from semistruct.terms._tokens import is_plain_name, quote_name
from semistruct.terms.base import Term
from semistruct.terms.term_list import Addend, Role

__all__ = [
    "ONE_COLUMN",
    "DeepTerm",
    "bag",
    "cnn",
    "cnn3d",
    "conv1d",
    "deep",
    "default_encoder",
    "encoder",
    "mlp",
    "recurrent",
]

# Encoders that read one column of tensors.
ONE_COLUMN = ("cnn", "cnn3d", "conv1d", "recurrent", "bag")

_MOST_NAMED = 12  # columns in a label

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, repr=False)
class DeepTerm(Addend):
    """Columns read by an encoder whose latent features enter the predictor linearly.

    Parameters
    ----------
    encoder : str
        Name of the encoder: ``"cnn"``, ``"mlp"`` and the like, ``"deep"`` (several columns
        fused), or a name from the user's ``encoders=``.
    variables : tuple of str
        Columns that it reads.
    options : tuple of (str, value) pairs
        Options for the encoder, sorted by name; plain values only.
    by : Term or None
        A term whose basis multiplies the latent features, for effects that vary with it.
    selectors : tuple of str
        Patterns such as ``"gene_*"``; the columns that match are read after ``variables`` once
        the table is known (:func:`~semistruct.terms.selectors.resolve_columns`).
    """

    encoder: str
    variables: tuple[str, ...]
    options: Options = ()
    by: Term | None = None
    selectors: tuple[str, ...] = ()

    role: ClassVar[Role] = "deep"

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, str) or not is_plain_name(self.encoder):
            raise SpecificationError(
                f"the name of an encoder must be a plain name such as 'resnet', got "
                f"{self.encoder!r}."
            )
        if not self.variables and not self.selectors:
            raise SpecificationError(
                f"{self.encoder}() names no column; write for example {self.encoder}(frontal)."
            )
        for name in self.variables:
            quote_name(name)
        if len(set(self.variables)) < len(self.variables):
            raise SpecificationError(f"{self.label} names a column twice.")
        if self.by is not None and not isinstance(self.by, Term):
            raise SpecificationError(
                f"by= of {self.encoder}() must be a term such as s('tend'), got {self.by!r}."
            )

    @property
    def label(self) -> str:  # type: ignore[override]
        """``"cnn(frontal)"``, with ``by=`` where there is one; of many columns the outermost."""
        columns = list(self.variables)
        if len(columns) > _MOST_NAMED:
            columns = [*columns[:2], "...", columns[-1]]
        inside = ", ".join([*columns, *_selections(self.selectors)])
        by = "" if self.by is None else f", by={getattr(self.by, 'formula', self.by.label)}"
        return f"{self.encoder}({inside}{by})"

    @property
    def option(self) -> Mapping[str, Any]:
        """The options as a mapping."""
        return dict(self.options)

    def text(self) -> str:
        """The term as it is written in a formula."""
        pieces = [quote_name(name) for name in self.variables]
        pieces += _selections(self.selectors)
        pieces += [f"{name}={value!r}" for name, value in self.options]
        if self.by is not None:
            pieces.append(f"by={self.by.text()}")
        return f"{self.encoder}({', '.join(pieces)})"

    def __repr__(self) -> str:
        return self.text()


def _selections(patterns: tuple[str, ...]) -> list[str]:
    return [f"cols({pattern!r})" for pattern in patterns]


def encoder(name: str, *variables: str, by: Term | None = None, **options: Any) -> DeepTerm:
    """A deep term read by the encoder called ``name``, for example one of the user's own.

    Examples
    --------
    >>> encoder("resnet", "ct", latent_dim=16)
    resnet(ct, latent_dim=16)
    """
    return DeepTerm(name, variables, _frozen_options(name, options), by)


def cnn(image: str, *, by: Term | None = None, **options: Any) -> DeepTerm:
    """An image column read by a convolutional network.

    Examples
    --------
    >>> cnn("frontal", latent_dim=8)
    cnn(frontal, latent_dim=8)
    """
    return encoder("cnn", image, by=by, **options)


def cnn3d(volume: str, *, by: Term | None = None, **options: Any) -> DeepTerm:
    """A column of volumes ``(C, D, H, W)`` read by a convolutional network.

    Examples
    --------
    >>> cnn3d("ct")
    cnn3d(ct)
    """
    return encoder("cnn3d", volume, by=by, **options)


def conv1d(sequence: str, *, by: Term | None = None, **options: Any) -> DeepTerm:
    """A column of sequences ``(length, channels)`` read by convolutions.

    Examples
    --------
    >>> conv1d("ecg", pooling="max")
    conv1d(ecg, pooling='max')
    """
    return encoder("conv1d", sequence, by=by, **options)


def recurrent(sequence: str, *, by: Term | None = None, **options: Any) -> DeepTerm:
    """A column of sequences ``(length, channels)`` read by a GRU or LSTM.

    Examples
    --------
    >>> recurrent("visits", cell="lstm")
    recurrent(visits, cell='lstm')
    """
    return encoder("recurrent", sequence, by=by, **options)


def bag(patches: str, *, by: Term | None = None, **options: Any) -> DeepTerm:
    """A column of bags of patches ``(number, C, h, w)``, or of features, pooled by attention.

    Examples
    --------
    >>> bag("slide", pooling="mean")
    bag(slide, pooling='mean')
    """
    return encoder("bag", patches, by=by, **options)


def mlp(*variables: str, by: Term | None = None, **options: Any) -> DeepTerm:
    """Tabular columns read by a multi-layer perceptron.

    Examples
    --------
    >>> mlp("age", "bmi").label
    'mlp(age, bmi)'
    """
    return encoder("mlp", *variables, by=by, **options)


def deep(*variables: str, by: Term | None = None, **options: Any) -> DeepTerm:
    """Several columns, images or tabular, each encoded and then fused in latent space.

    Examples
    --------
    >>> deep("ct", "age", fusion="gated")
    deep(ct, age, fusion='gated')
    """
    return encoder("deep", *variables, by=by, **options)


def default_encoder(shape: Sequence[int | None] | None) -> str:
    """Name of the encoder for a column whose rows have this shape; None for lengths that differ.

    Examples
    --------
    >>> [default_encoder(shape) for shape in [(3000,), (50, 2), (3, 64, 64), (1, 20, 64, 64)]]
    ['mlp', 'conv1d', 'cnn', 'cnn3d']
    >>> [default_encoder(shape) for shape in [(None,), (None, 2), (None, 3, 32, 32)]]
    ['conv1d', 'conv1d', 'bag']
    """
    if shape is None:
        return "cnn"
    if len(shape) and shape[0] is None:
        return {1: "conv1d", 2: "conv1d", 4: "bag"}.get(len(shape), "cnn")
    return {2: "conv1d", 3: "cnn", 4: "cnn3d"}.get(len(shape), "mlp")


def _frozen_options(name: str, options: Mapping[str, Any]) -> Options:
    return tuple(sorted((key, _plain(name, key, value)) for key, value in options.items()))


def _plain(name: str, key: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return tuple(_plain(name, key, item) for item in value)
    raise SpecificationError(
        f"the option {key}= of {name}() must be a number, a string, None, True, False or a tuple "
        f"of these, got {value!r}; to use a module of your own pass encoders={{'name': module}}."
    )
