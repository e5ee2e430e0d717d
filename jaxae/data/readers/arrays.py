"""Reads a user's own .npz and .npy files: images or vectors, with or without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from jaxae.data.readers import npy
from jaxae.data.readers.labels import index_classes
from jaxae.data.readers.numbers import Survey, make_scaling, to_float32
from jaxae.data.reading import Opened, Piece, Reader, Reading, list_names
from jaxae.data.splits import Division, divide_by_index
from jaxae.errors import UserError
from jaxae.files import shorten

_CLASS_NAMES = "class_names"
_FEW = 4  # channels; a longer second axis is taken for the height


class _Layout(NamedTuple):
    """The names of the arrays of a set; without test arrays a part is held out."""

    train: str
    train_labels: str | None = None
    test: str | None = None
    test_labels: str | None = None

    def choices(self) -> list[set[str | None]]:
        """Returns the sets of names that a file may hold: labels belong to all images or none."""
        alone = [{self.train}, {self.train, self.train_labels}]
        return alone if self.test is None else [*alone, {self.train, self.test}, set(self)]


_LAYOUTS = (
    _Layout("x_train", "y_train", "x_test", "y_test"),  # Keras's
    _Layout("train_images", "train_labels", "test_images", "test_labels"),  # jaxae's own
    _Layout("images", "labels"),
    _Layout("x", "y"),
)


class ArraySource(Protocol):
    """An array that is read in chunks, from a file or from memory; `str` names it in errors."""

    @property
    def key(self) -> str:
        """Its name in its set."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, which has one axis at least."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Its dtype, of numbers or text."""
        ...

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields it in chunks [n, ...] along its first axis."""
        ...


@dataclass(frozen=True)
class _Examples:
    """The images or vectors in an array, and how they are converted.

    Attributes:
      stored: [N, H, W], [N, H, W, C], [N, C, H, W] or [N, D].
      channels_first: whether it is [N, C, H, W].
      scale: the option of that name.
    """

    stored: ArraySource
    channels_first: bool
    scale: str | None

    @property
    def is_vectors(self) -> bool:
        return len(self.stored.shape) == 2

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C) or (D,)."""
        _, *sizes = self.stored.shape
        if self.channels_first:
            return (sizes[1], sizes[2], sizes[0])
        return (*sizes, 1) if len(sizes) == 2 else tuple(sizes)

    @property
    def dtype(self) -> np.dtype:
        """uint8 for images of bytes or booleans that are not scaled, else float32."""
        as_pixels = self.scale in (None, "none") and self.stored.dtype in (np.uint8, np.bool_)
        return np.dtype(np.uint8 if as_pixels and not self.is_vectors else np.float32)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields converted examples [n, *shape]; raises `UserError` at the end for bad numbers."""
        survey, start = Survey(), 0
        for chunk in self.stored.chunks():
            survey.add(start, chunk)
            start += len(chunk)
            yield self._convert(chunk)
        survey.check(str(self.stored))
        if not self.is_vectors and self.scale is None:
            self._check_range(survey)

    def _convert(self, chunk: np.ndarray) -> np.ndarray:
        if self.channels_first:
            chunk = np.moveaxis(chunk, 1, -1)
        if self.dtype == np.float32:
            converted = to_float32(chunk)
        else:
            converted = chunk.astype(np.uint8) * np.uint8(255 if chunk.dtype == bool else 1)
        return np.ascontiguousarray(converted.reshape(len(chunk), *self.shape))

    def check_dtype(self) -> None:
        """Raises `UserError` for images of integers that are neither bytes nor scaled."""
        kind = self.stored.dtype.kind
        if kind in "SU":
            raise UserError(f"{self.stored} holds text: give numbers, and text for labels only")
        if self.is_vectors or self.scale or kind not in "iu" or self.stored.dtype == np.uint8:
            return
        survey = Survey()
        for chunk in self.stored.chunks():
            survey.add(0, chunk)
        raise self._out_of_range(survey)

    def _check_range(self, survey: Survey) -> None:
        """Raises `UserError` for floats outside [0, 1], and for bytes that are 0 or 1."""
        is_float = self.stored.dtype.kind == "f"
        if is_float and not 0 <= survey.low <= survey.high <= 1:
            raise self._out_of_range(survey)
        if self.stored.dtype == np.uint8 and survey.high == 1:
            raise UserError(
                f"{self.stored} holds images of uint8 from 0 to 1, which are almost black as uint8 "
                "goes to 255: give --scale minmax, or save them as booleans"
            )

    def _out_of_range(self, survey: Survey) -> UserError:
        looks_like_bytes = survey.low >= 0 and 127 < survey.high <= 255
        other = ", or save them as uint8" if looks_like_bytes else ""
        return UserError(
            f"{self.stored} holds images of {self.stored.dtype.name} from {survey.low:g} to "
            f"{survey.high:g}: give uint8, booleans, or floats in [0, 1]; or --scale minmax, which "
            "maps the smallest and the largest number of training to 0 and 1, --scale standardize, "
            f"which maps them to mean 0 and deviation 1, or --scale none{other}"
        )


def _open(path: Path, reading: Reading) -> Opened:
    """Opens an .npz or .npy file.

    Its images become [N, H, W, C], uint8 or float32; booleans become 0 and 255. [N, D] are vectors,
    which become float32. Raises `UserError` if the file does not hold a set of the known layouts.
    """
    return open_set(str(path), npy.open_arrays(path), reading)


def open_set(place: str, arrays: Mapping[str, ArraySource], reading: Reading) -> Opened:
    """Opens the set that arrays form by their names; errors say that they are in `place`."""
    reading.check_only(("scale", "channels_first"), "arrays")
    layout = _layout(place, list(arrays))
    keys = {"train": layout.train, "test": layout.test}
    parts = {split: _examples(arrays[key], reading) for split, key in keys.items() if key in arrays}
    train = parts["train"]
    for part in parts.values():
        part.check_dtype()
        if (part.shape, part.dtype) != (train.shape, train.dtype):
            raise UserError(
                f"{part.stored} holds {part.stored.dtype} of shape {part.shape}, but the training "
                f"array {train.stored.dtype} of shape {train.shape}: give equal ones"
            )
    counts = {split: len(part.stored) for split, part in parts.items()}
    labels, class_names = _labels(place, arrays, layout, counts)
    scale = reading.scale or ("standardize" if train.is_vectors else None)
    opened = Opened(
        shape=train.shape,
        dtype=train.dtype,
        counts=counts,
        labels=labels,
        class_names=class_names,
        read=partial(_read, parts),
        scaling=make_scaling(scale, str(train.stored)),
        clipped=scale == "minmax" and not train.is_vectors,
    )
    if len(parts) == 2:
        return opened
    return _held_out(opened, train, divide_by_index(len(train.stored), str(train.stored)))


def _examples(stored: ArraySource, reading: Reading) -> _Examples:
    """Raises `UserError` unless an array has the axes of images or vectors, in their order."""
    shape, first = stored.shape, reading.channels_first
    found = f"{stored} has the shape {shorten(shape)}"
    if not 2 <= len(shape) <= 4:
        raise UserError(f"{found}: give images [N, H, W] or [N, H, W, C], or vectors [N, D]")
    if first and len(shape) < 4:
        raise UserError(
            f"--channels-first was given, but {found}, without channels: "
            "leave it out, or give [N, C, H, W]"
        )
    if len(shape) == 4 and shape[2] > _FEW:
        if not first and shape[1] <= _FEW < shape[3]:
            raise UserError(
                f"{found}, which looks like [N, C, H, W]: give "
                "--channels-first, or transpose it to [N, H, W, C]"
            )
        if first and shape[3] <= _FEW < shape[1]:
            raise UserError(
                f"--channels-first was given, but {found}, which looks like "
                "[N, H, W, C]: leave it out"
            )
    return _Examples(stored, first, reading.scale)


def _layout(place: str, keys: list[str]) -> _Layout:
    """Returns the layout whose names these are; raises `UserError` if there is none."""
    names = set(keys) - {_CLASS_NAMES}
    for layout in _LAYOUTS:
        if names in layout.choices():
            return layout
    if len(names) == 1 and not names & {name for layout in _LAYOUTS for name in layout}:
        return _Layout(names.pop())
    allowed = "; ".join(", ".join(filter(None, layout)) for layout in _LAYOUTS)
    found = (
        f"the arrays {list_names(sorted(keys))}, which are not one of the sets that are known"
        if keys
        else "no arrays, and should hold one of these sets"
    )
    raise UserError(
        f"{place} holds {found}: {allowed}; test "
        "arrays may be missing, and so may labels, but of both splits; a single array may have any "
        f"name, and {_CLASS_NAMES} may be added to labels; save it again with such names"
    )


def _labels(
    place: str, arrays: Mapping[str, ArraySource], layout: _Layout, counts: Mapping[str, int]
) -> tuple[dict[str, np.ndarray] | None, tuple[str, ...]]:
    """Returns the labels int32 [N] of each part, and the class names."""
    keys = {"train": layout.train_labels, "test": layout.test_labels}
    stored = {split: arrays[key] for split, key in keys.items() if key and key in arrays}
    if not stored:
        if _CLASS_NAMES in arrays:
            raise UserError(f"{arrays[_CLASS_NAMES]} has no labels: add labels, or leave it out")
        return None, ()
    for split, array in stored.items():
        if array.shape[1:] not in ((), (1,)):
            raise UserError(
                f"{array} has the shape {shorten(array.shape)}: give one whole number or name for "
                "each example; labels.argmax(1) turns one-hot labels into them"
            )
        if len(array) != counts[split]:
            raise UserError(
                f"{array} holds {len(array)} labels for {counts[split]} examples: give one for each"
            )
    what = f"the labels {' and '.join(array.key for array in stored.values())} in {place}"
    labels, names = index_classes({s: a.chunks() for s, a in stored.items()}, what)
    if _CLASS_NAMES not in arrays:
        return labels, names
    return _name_classes(labels, names, arrays[_CLASS_NAMES], what)


def _name_classes(
    labels: dict[str, np.ndarray], numbers: tuple[str, ...], stored: ArraySource, what: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns labels that index the names in an array, which the labels found are indices of."""
    names = np.concatenate(list(stored.chunks()))
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) < len(names):
        raise UserError(f"{stored} is not a list of different names: save one for each class")
    try:
        indices = np.array([int(number) for number in numbers])
    except ValueError:
        raise UserError(
            f"{what} are names themselves: give whole numbers, or leave out {stored}"
        ) from None
    if indices.min() < 0 or indices.max() >= len(names):
        raise UserError(
            f"{what} go from {indices.min()} to {indices.max()}, but {stored} holds {len(names)} "
            f"names: give labels from 0 to {len(names) - 1}"
        )
    named = {split: indices.astype(np.int32)[values] for split, values in labels.items()}
    return named, tuple(names.tolist())


def _held_out(opened: Opened, train: _Examples, division: Division) -> Opened:
    """Returns a set whose test examples are held out of the training array."""
    labels = opened.labels and division.divide(opened.labels["train"])
    read = partial(_read_divided, train, division)
    return replace(opened, counts=division.counts, labels=labels, read=read)


def _read(parts: Mapping[str, _Examples]) -> Iterator[Piece]:
    for split, examples in parts.items():
        start = 0
        for chunk in examples.chunks():
            yield Piece(split, np.arange(start, start + len(chunk)), chunk)
            start += len(chunk)


def _read_divided(examples: _Examples, division: Division) -> Iterator[Piece]:
    start = 0
    for chunk in examples.chunks():
        yield from division.pieces(start, chunk)
        start += len(chunk)


ARRAYS = Reader(files=lambda path: [path], open=_open)
