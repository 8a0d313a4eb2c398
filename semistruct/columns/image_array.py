"""A pandas column of images: in memory, or files decoded when they are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pandas.api.extensions import register_extension_dtype
from PIL import Image

from semistruct.columns.cache import DecodeCache
from semistruct.columns.decoding import DecodeOptions, pixels_of
from semistruct.columns.display import contact_sheet
from semistruct.columns.files import FileSource, OnError, choose_options
from semistruct.columns.folders import match_files
from semistruct.columns.resizing import resized
from semistruct.columns.rows import MISSING, Rows, is_missing
from semistruct.columns.sources import BlockSource, ListSource
from semistruct.columns.tensor_array import TensorArray
from semistruct.columns.tensor_dtype import TensorDtype
from semistruct.exceptions import DataError, SpecificationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ImageArray", "ImageDtype"]

_CHANNEL_COUNTS = (1, 3, 4)
_ELEMENTS = ("uint8", "float32", "float64")


@register_extension_dtype
class ImageDtype(TensorDtype):
    """Type of a column of images: ``(C, H, W)`` and the type of the pixels.

    Examples
    --------
    >>> ImageDtype((3, 64, 64))
    image[3, 64, 64; uint8]
    """

    family: ClassVar[str] = "image"
    default_element: ClassVar[str] = "uint8"

    def _get_common_dtype(self, dtypes: list[Any]) -> TensorDtype | None:
        if not all(isinstance(dtype, ImageDtype) for dtype in dtypes):
            return super()._get_common_dtype(dtypes)
        known = {dtype for dtype in dtypes if dtype.shape is not None}
        if len(known) > 1:
            names = " and ".join(sorted(dtype.name for dtype in known))
            raise DataError(
                f"images of {names} cannot be in one column; bring them to one shape and type "
                "first, for example with .array.conform((C, H, W))."
            )
        return known.pop() if known else ImageDtype()


class ImageArray(TensorArray):
    """One image per row of a table, channels first.

    Parameters
    ----------
    values : (n, C, H, W) or (n, H, W) array, or sequence of n images and missing values
        ``uint8``, or floating point on any one scale. Channels come before height and width.
        A sequence may hold arrays ``(C, H, W)`` or ``(H, W)``, pillow images, None.
    dtype : ImageDtype or str, optional
        Inferred when not given.
    copy : bool, default False
        Copy an array first; else it is kept, and must not be changed afterwards.

    Raises
    ------
    DataError
        For another number of axes, channels last, another type of numbers, images of different
        shapes, or values that are not finite.

    See Also
    --------
    ImageArray.from_files, ImageArray.from_folder, as_image_array

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": [61, 70], "ct": ImageArray(np.zeros((2, 16, 16), "uint8"))})
    >>> frame.dtypes["ct"]
    image[1, 16, 16; uint8]
    >>> frame["ct"].array.batch([1, 0]).shape
    (2, 1, 16, 16)
    """

    _dtype_class = ImageDtype

    # ------------------------------------------------------------------ construction

    @classmethod
    def from_files(
        cls,
        paths: Sequence[Any],
        size: int | tuple[int, int] | None = None,
        mode: Literal["L", "RGB"] | None = None,
        on_error: OnError = "raise",
        root: str | os.PathLike[str] | None = None,
        cache_bytes: int = 256 * 2**20,
        dtype: Literal["uint8", "float32"] = "uint8",
    ) -> ImageArray:
        """Image files, decoded only when their rows are read.

        Parameters
        ----------
        paths : sequence of n paths
            One file per row; None, NaN or an empty text is a missing image.
        size : int or (H, W), optional
            Every image is stretched to it. The size of the first readable file by default.
        mode : {"L", "RGB"}, optional
            Grey or colour. By default colour when any of up to 64 files, evenly spaced over the
            column, is in colour. Alpha is dropped.
        on_error : {"raise", "missing"}
            A file that cannot be decoded raises :class:`DataError` naming path and row when it
            is read; or its row is missing, and then the first :meth:`isna` decodes every file
            once to know, and remembers.
        root : path, optional
            Folder that relative paths start from; the working directory by default.
        cache_bytes : int
            Budget for decoded pixels, shared by all slices of this column. Not pickled.
        dtype : {"uint8", "float32"}
            ``float32`` gives 0..1 and keeps the depth of 16-bit files; ``uint8`` gives 0..255
            (16-bit grey by its full range).

        Returns
        -------
        ImageArray
        """
        _check_choice("on_error", on_error, ("raise", "missing"))
        _check_choice("mode", mode, (None, "L", "RGB"))
        _check_choice("dtype", dtype, ("uint8", "float32"))
        texts = [_path_text(path, row) for row, path in enumerate(paths)]
        present = [row for row, text in enumerate(texts) if text is not None]
        folder = os.path.abspath(root or "")
        # normpath joins as abspath does, without asking for the working directory at each file
        full = [os.path.normpath(os.path.join(folder, texts[row] or "")) for row in present]
        options, guessed_grey = choose_options(full, _pair(size), mode, dtype, on_error)
        index = np.full(len(texts), MISSING)
        if options is None:
            return cls._of(Rows.of(ListSource([]), index), ImageDtype())
        index[present] = np.arange(len(present))
        store = FileSource(full, options, on_error, DecodeCache(cache_bytes), guessed_grey)
        return cls._of(Rows.of(store, index), ImageDtype(options.shape, dtype))

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        keys: Sequence[Any],
        pattern: str = "{key}.jpg",
        on_missing: OnError = "raise",
        **options: Any,
    ) -> ImageArray:
        """Files of a folder joined to the rows of a table by key, never by position.

        Parameters
        ----------
        folder : path
        keys : sequence of n
            A column of the table, for example its identifier. A missing key is a missing image.
        pattern : str
            Name of the file of a key below ``folder``. May use a format, ``"{key:03d}.png"``,
            wildcards, ``"{key}_*.jpg"``, and subfolders, ``"{key}/front.jpg"``.
        on_missing : {"raise", "missing"}
            What a key without a file is.
        **options
            Passed to :meth:`from_files`: size, mode, on_error, cache_bytes, dtype.

        Raises
        ------
        DataError
            When the folder does not exist, a key has several files, or a key has none and
            ``on_missing="raise"``.
        """
        _check_choice("on_missing", on_missing, ("raise", "missing"))
        paths = match_files(folder, keys, pattern, on_missing == "raise")
        return cls.from_files(paths, **options)

    @classmethod
    def _from_list(cls, rows: list[Any], dtype: TensorDtype | None) -> TensorArray:
        first = next((row for row in rows if not is_missing(row)), None)
        if isinstance(first, str | os.PathLike):
            if dtype is None or dtype.shape is None:
                return cls.from_files(rows)
            channels, height, width = dtype.shape
            mode: Literal["L", "RGB"] = "L" if channels == 1 else "RGB"
            return cls.from_files(rows, size=(height, width), mode=mode)  # type: ignore[arg-type]
        return super()._from_list(rows, dtype)

    @classmethod
    def _check_block(cls, block: np.ndarray) -> np.ndarray:
        if block.ndim == 3:
            block = block[:, None]
        if block.ndim != 4:
            raise DataError(
                f"images need an array (n, C, H, W), or (n, H, W) for grey; got {block.shape}."
            )
        return _check_pixels(block)

    @classmethod
    def _check_row(cls, row: Any, k: int) -> np.ndarray:
        if isinstance(row, Image.Image):
            grey = row.mode in {"1", "L", "LA"}
            options = DecodeOptions((row.height, row.width), "L" if grey else "RGB")
            return pixels_of(row, options)
        pixels = super()._check_row(row, k)
        if pixels.ndim == 2:
            pixels = pixels[None]
        if pixels.ndim != 3:
            raise DataError(
                f"row {k}: an image needs the shape (C, H, W), or (H, W) for grey; got "
                f"{pixels.shape}."
            )
        return _check_pixels(pixels, f"row {k}: ")

    @classmethod
    def _check_found(cls, found: TensorDtype, tensors: list[np.ndarray], rows: list[int]) -> None:
        if found.is_fixed:
            return
        other = next(k for k, t in enumerate(tensors) if t.shape != tensors[0].shape)
        raise DataError(
            f"images in memory must have one shape; row {rows[0]} is {tensors[0].shape} and row "
            f"{rows[other]} is {tensors[other].shape}. Resize them first, or keep them as files: "
            "ImageArray.from_files(paths, size=...) resizes when decoding."
        )

    # ------------------------------------------------------------------ use

    def conform(self, shape: tuple[int, int, int]) -> ImageArray:
        """The same images as ``(C, H, W)`` of the given shape: resized, grey or colour.

        Files are decoded at that size when read; images in memory are resized now.

        Raises
        ------
        DataError
            When the number of channels can only be reached by inventing some.
        """
        if self._dtype.shape == tuple(shape):
            return self
        channels, height, width = shape
        dtype = ImageDtype(shape, self._dtype.element)
        stores = list(self._rows.stores)
        for s, store in enumerate(stores):
            if isinstance(store, FileSource):
                if channels not in (1, 3):
                    raise DataError(f"image files give 1 or 3 channels, not {channels}.")
                mode: Literal["L", "RGB"] = "L" if channels == 1 else "RGB"
                stores[s] = store.with_options(
                    DecodeOptions((height, width), mode, store.options.dtype)
                )
            else:
                stores[s] = resized(store, (channels, height, width))
        return self._of(Rows(stores, self._rows.store, self._rows.index), dtype)

    def load(self) -> ImageArray:
        """The same images in memory; missing rows stay missing."""
        block = self.batch()
        index = np.where(self.isna(), MISSING, np.arange(len(self)))
        return self._of(Rows.of(BlockSource(block), index), self._dtype)

    def show(
        self,
        rows: Any = None,
        ncols: int = 8,
        labels: Sequence[Any] | None = None,
    ) -> Figure:
        """Contact sheet of some rows.

        Parameters
        ----------
        rows : int array, bool mask or slice, optional
            Positions; the first ``2 * ncols`` by default.
        ncols : int
            Images per line.
        labels : sequence, optional
            Text above each image shown; row positions by default.

        Returns
        -------
        matplotlib.figure.Figure
        """
        positions = np.arange(len(self))[: 2 * ncols] if rows is None else self._positions(rows)
        column = self[positions]
        return contact_sheet(
            column.batch() if column._dtype.is_fixed else np.zeros((len(column), 1, 1, 1)),
            column.isna(),
            positions.tolist() if labels is None else list(labels),
            ncols,
        )


ImageDtype.array_type = ImageArray


def _check_pixels(pixels: np.ndarray, where: str = "") -> np.ndarray:
    channels, height, width = pixels.shape[-3:]
    if width in _CHANNEL_COUNTS and channels not in _CHANNEL_COUNTS and height > 4:
        raise DataError(
            f"{where}got shape {pixels.shape}, which looks like channels last; images are "
            "(C, H, W): use np.moveaxis(images, -1, -3)."
        )
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    if pixels.dtype.name not in _ELEMENTS:
        raise DataError(
            f"{where}images must be uint8 (0 to 255), float32 or float64, got {pixels.dtype}; "
            "convert them, for example (images / images.max()).astype('float32')."
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError(
            f"{where}images contain values that are not finite; replace them, or make the whole "
            "image missing (None)."
        )
    return pixels


def _path_text(path: Any, row: int) -> str | None:
    if is_missing(path) or (isinstance(path, str) and not path.strip()):
        return None
    if isinstance(path, str | Path | os.PathLike):
        return os.fspath(path)
    raise DataError(f"row {row}: a path must be text or a Path, got {type(path).__name__}.")


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(s, int | np.integer) and s > 0 for s in pair):
        raise SpecificationError(f"size must be a positive int or (H, W), got {size!r}.")
    return int(pair[0]), int(pair[1])


def _check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise SpecificationError(f"{name}={value!r} is not allowed; choose from {allowed}.")
