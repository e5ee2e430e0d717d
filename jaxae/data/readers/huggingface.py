"""Reads the pictures of a Hugging Face dataset: one on the Hub, or one in a folder.

`datasets` is an extra. No code of a dataset runs. Pictures are decoded like those of a folder.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxae.data.readers.hub import Place, cache_folder, load_splits, locate
from jaxae.data.readers.labels import index_classes
from jaxae.data.readers.picture_decoding import UnreadableError
from jaxae.data.readers.picture_sets import (
    OPTIONS,
    PictureSet,
    check_size,
    list_problems,
    open_set,
    read_headers,
)
from jaxae.data.reading import Opened, Reading, list_names
from jaxae.data.splits import divide_by_index
from jaxae.errors import UserError
from jaxae.files import shorten

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_SCALARS = ("bool", "string", "large_string", *_INTEGERS)  # types that labels may have
_LABELS_AT_ONCE = 2**16


@dataclass(frozen=True)
class _Cell:
    """A picture in a table of bytes and paths.

    root: the folder that paths must not lead out of.
    """

    rows: Any  # a `datasets.Dataset` of the one column
    column: str
    index: int
    root: Path

    def open(self, mode: Literal["rb"], /) -> io.BufferedReader:
        """Opens the bytes, else the file at the path; raises `UnreadableError` without either."""
        value = self.rows[self.index][self.column] or {}
        if value.get("bytes") is not None:
            return io.BufferedReader(io.BytesIO(value["bytes"]))  # pyright: ignore[reportArgumentType]
        if not value.get("path"):
            raise UnreadableError("it is missing")
        path = Path(value["path"])
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise UnreadableError("its path leads out of the dataset")
        return path.open("rb")


def open_dataset(source: str, reading: Reading) -> Opened:
    """Opens "hf:NAME" or "hf:FOLDER", which may end in ":CONFIG".

    A folder holds data files, such as train.parquet, or is what `save_to_disk` wrote. The dataset
    needs one column of pictures. Its splits are train and test; without test, a tenth of train, or
    of the only split, is held out by index. Labels are the column `reading.label`, else the only
    one of type ClassLabel, in which -1 means no label.

    Raises `UserError` if the dataset is not available or not such a one.
    """
    reading.check_only((*OPTIONS, "label"), "Hugging Face datasets")
    check_size(reading)
    place = locate(source)
    splits = _choose_splits(place, load_splits(place))
    features = next(iter(splits.values())).features
    labels, class_names = _labels(place, splits, _label_column(place, features, reading.label))
    keys, labels = _divide(place, splits, labels)
    pictures = _read_headers(place, splits, _picture_column(place, features), keys)
    return open_set(pictures, keys, labels, class_names, reading)


def _read_headers(
    place: Place, splits: Mapping[str, Any], column: str, keys: Mapping[str, list[str]]
) -> PictureSet:
    """Reads the headers of all pictures; raises `UserError` if none can be read."""
    root = place.folder or cache_folder()
    cells = {name: _without_decoding(rows, column) for name, rows in splits.items()}

    def find(key: str) -> _Cell:
        split, _, index = key.rpartition("/")
        return _Cell(cells[split], column, int(index), root)

    every = [key for names in keys.values() for key in names]
    pictures = read_headers(place.name, str(place), find, every, {})
    if not pictures.headers:
        raise UserError(
            f"no picture in {place} can be read: {list_problems(pictures.problems)}: give another "
            "dataset"
        )
    return pictures


# Splits and columns.


def _choose_splits(place: Place, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the splits train and test, or train or the only one alone."""
    chosen = {name: loaded[name] for name in ("train", "test") if name in loaded}
    if "train" not in chosen:
        if len(loaded) != 1:
            raise UserError(
                f"{place} has the splits {list_names(list(loaded))}: a dataset needs train and "
                "test, train, or only one split; give another"
            )
        chosen = dict(loaded)
    for name, rows in chosen.items():
        if not len(rows):
            raise UserError(f"the split {name} of {place} is empty: give another dataset")
        if rows.features != next(iter(chosen.values())).features:
            raise UserError(f"the splits of {place} differ in their columns: make them equal")
    return chosen


def _divide(
    place: Place, splits: Mapping[str, Any], labels: dict[str, np.ndarray] | None
) -> tuple[dict[str, list[str]], dict[str, np.ndarray] | None]:
    """Returns the names "split/row" and the labels of train and test."""
    keys = {split: [f"{split}/{n}" for n in range(len(rows))] for split, rows in splits.items()}
    if len(keys) == 2:
        return keys, labels
    ((split, names),) = keys.items()
    division = divide_by_index(len(names), str(place))
    divided = {side: part.tolist() for side, part in division.divide(np.array(names)).items()}
    return divided, labels and division.divide(labels[split])


def _picture_column(place: Place, features: Mapping[str, Any]) -> str:
    """Returns the name of the only column of pictures."""
    found = [name for name, feature in features.items() if _is_picture(feature)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"{place} has no column of pictures, only {list_names(list(features))}: a dataset "
            "needs one, of type Image; give another"
        )
    raise UserError(
        f"{place} has several columns of pictures ({list_names(found)}): a dataset needs one; "
        "remove the others with `datasets`, save it with save_to_disk(FOLDER) and give hf:FOLDER"
    )


def _is_picture(feature: Any) -> bool:
    """Returns whether a column holds pictures: of type Image, or its bytes without the type."""
    from datasets import Image

    if isinstance(feature, dict):
        return set(feature) == {"bytes", "path"}
    return isinstance(feature, Image)


def _without_decoding(rows: Any, column: str) -> Any:
    """Returns the column of pictures alone, as bytes and paths."""
    from datasets import Image

    rows = rows.select_columns([column])
    if isinstance(rows.features[column], dict):
        return rows
    return rows.cast_column(column, Image(decode=False))


def _label_column(place: Place, features: Mapping[str, Any], label: str | None) -> str | None:
    """Returns the name of the label column; None without labels."""
    from datasets import ClassLabel

    scalars = {name: f for name, f in features.items() if getattr(f, "dtype", None) in _SCALARS}
    if label is not None:
        if label in scalars:
            return label
        known = f"give one of {list_names(list(scalars))}" if scalars else "leave it out"
        raise UserError(
            f"{place} has no column {shorten(label)} of whole numbers or text for --label: {known}"
        )
    found = [name for name, f in scalars.items() if isinstance(f, ClassLabel)]
    if len(found) > 1:
        raise UserError(
            f"{place} has several columns of labels ({list_names(found)}): choose one, such as "
            f"--label {found[0]}"
        )
    return found[0] if found else None


def _labels(
    place: Place, splits: Mapping[str, Any], column: str | None
) -> tuple[dict[str, np.ndarray] | None, tuple[str, ...]]:
    """Returns the labels int32 [N] of each split, and the class names."""
    from datasets import ClassLabel

    if column is None:
        return None, ()
    what = f"the labels in column {shorten(column)} of {place}"
    chunks = {name: _values(rows, column, what) for name, rows in splits.items()}
    feature = next(iter(splits.values())).features[column]
    if not isinstance(feature, ClassLabel):
        return index_classes(chunks, what)
    labels = {name: np.concatenate(list(parts)).astype(np.int32) for name, parts in chunks.items()}
    low, high = (min(map(np.min, labels.values())), max(map(np.max, labels.values())))
    if low < -1 or high >= len(feature.names):
        raise UserError(f"{what} go from {low} to {high}, but name {len(feature.names)} classes")
    return labels, tuple(feature.names)


def _values(rows: Any, column: str, what: str) -> Iterator[np.ndarray]:
    """Yields the values of a column in chunks; raises `UserError` if one is missing."""
    rows = rows.select_columns([column])
    for start in range(0, len(rows), _LABELS_AT_ONCE):
        values = rows[start : start + _LABELS_AT_ONCE][column]
        if None in values:
            raise UserError(
                f"{what} are missing for some examples, the first at row "
                f"{start + values.index(None)}: label each, or choose another column with --label"
            )
        yield np.array(values, object if isinstance(values[0], str) else None)
