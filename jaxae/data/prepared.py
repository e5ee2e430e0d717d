"""Finds prepared sets, and reads their descriptions from their folders.

TFDS would import whatever module a set's features.json names, and so run a stranger's code. This
module imports nothing: it reads the JSON files in the folder as data and checks every value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from jaxae.errors import UserError
from jaxae.files import Least, Most, Quoted, convert, read_json, shorten, unfit

DATASET_INFO = "dataset_info.json"
_FEATURES = "features.json"
_LABELS = ".labels.txt"  # ends the name of a file of class names

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""The template of shard names for splits that give none."""

_CLASS_NAME = "pythonClassName"  # a key in features.json

_IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
_CLASS_LABEL = "tensorflow_datasets.core.features.class_label_feature.ClassLabel"
_OWN = re.compile(r"tensorflow_datasets\.core\.features\.[\w.]+")
"""Matches TFDS's own feature classes; only the features "image" and "label" are read."""

_MOST_CLASSES = 1_000_000
_MOST_PIXELS = 100_000  # on a side of an image
_MOST_RECORDS = 2**31 - 1  # indices of records are int32


# The entries of the two files that this module reads, under TFDS's names.


@dataclass(frozen=True)
class _StoredSplit:
    """A split in dataset_info.json."""

    name: str
    shardLengths: tuple[Annotated[int, Quoted(), Least(0), Most(_MOST_RECORDS)], ...] = ()
    filepathTemplate: str = _TEMPLATE


@dataclass(frozen=True)
class _DatasetInfo:
    """dataset_info.json."""

    name: str
    splits: tuple[_StoredSplit, ...]
    fileFormat: str = "tfrecord"


@dataclass(frozen=True)
class _Shape:
    """The shape of an image."""

    dimensions: tuple[Annotated[int, Quoted(), Least(-1), Most(_MOST_PIXELS)], ...]


@dataclass(frozen=True)
class _Image:
    """The shape and dtype of an image feature."""

    shape: _Shape
    dtype: str


@dataclass(frozen=True)
class _ClassLabel:
    """The number of classes of a label feature."""

    numClasses: Annotated[int, Quoted(), Least(1), Most(_MOST_CLASSES)]


@dataclass(frozen=True)
class _Feature:
    """A feature in features.json."""

    pythonClassName: str
    image: _Image | None = None
    classLabel: _ClassLabel | None = None


@dataclass(frozen=True)
class _FeaturesDict:
    """The features of a set by name."""

    features: dict[str, Any]


@dataclass(frozen=True)
class _Features:
    """features.json."""

    featuresDict: _FeaturesDict


@dataclass(frozen=True)
class Prepared:
    """The description of a prepared set, from its folder."""

    folder: Path
    file_format: str
    shards: Mapping[str, Mapping[str, int]]  # for each split, the number of records by file name
    features: frozenset[str]  # names of all features
    image: _Feature | None
    label: _Feature | None

    def files(self) -> list[Path]:
        """Returns the set's own files, sorted by name, without other files in the folder."""
        own = {DATASET_INFO, _FEATURES, "metadata.json", "LICENSE"}.union(*self.shards.values())
        files = {path.name: path for path in self.folder.iterdir() if path.is_file()}
        return [
            files[name]
            for name in sorted(files)
            if name in own or (name.endswith(_LABELS) and not name.startswith("."))
        ]

    def is_labeled(self) -> bool:
        """Returns whether the set has a training and a test split of labeled 8-bit images."""
        image, label = self.image, self.label
        return (
            {"train", "test"} <= set(self.shards)
            and image is not None
            and image.pythonClassName == _IMAGE
            and image.image is not None
            and image.image.dtype == "uint8"
            and label is not None
            and label.pythonClassName == _CLASS_LABEL
            and label.classLabel is not None
        )

    def image_shape(self) -> tuple[int | None, int | None, int]:
        """Returns height, width and channels of an image; None for a side that varies.

        Raises `UserError` for a shape that no image has.
        """
        assert self.image is not None  # `is_labeled` holds
        assert self.image.image is not None
        sides = self.image.image.shape.dimensions
        if len(sides) != 3 or 0 in sides or sides[2] not in (1, 3, 4):
            raise UserError(
                f"the shape of an image in {self.folder / _FEATURES} is {list(sides)}, but must be "
                f"height, width and 1, 3 or 4 channels: {_remedy(self.folder)}"
            )
        height, width = (None if side < 0 else side for side in sides[:2])
        return height, width, sides[2]

    def class_names(self) -> tuple[str, ...]:
        """Returns the names of the classes, or their numbers if they have no names.

        Raises `UserError` if the file of names is unreadable or names another number of classes.
        """
        assert self.label is not None  # `is_labeled` holds
        assert self.label.classLabel is not None
        count, file = self.label.classLabel.numClasses, self.folder / f"label{_LABELS}"
        if not file.exists():
            return tuple(map(str, range(count)))
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): {_remedy(self.folder)}") from None
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) != count:
            raise UserError(
                f"{file} names {len(names)} classes, and {self.folder / _FEATURES} has {count}: "
                f"{_remedy(self.folder)}"
            )
        return names


def find(data_dir: Path, name: str) -> Path | None:
    """Returns the folder of the newest prepared version of `name` in TFDS's layout, or None.

    Raises `UserError` if only configurations of `name` are prepared: the user must name one.
    """
    versions = {}
    for info in (data_dir / name).glob(f"*/{DATASET_INFO}"):
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name):
            versions[tuple(map(int, info.parent.name.split(".")))] = info.parent
    if versions:
        return versions[max(versions)]
    configs = sorted(
        {info.parent.parent.name for info in data_dir.glob(f"{name}/*/*/{DATASET_INFO}")}
    )
    if configs:
        choices = ", ".join(f"{name}/{config}" for config in configs)
        raise UserError(f"{name} is prepared in several configurations: name one of {choices}")
    return None


def read(folder: Path) -> Prepared:
    """Reads the description of the set prepared in `folder`.

    Raises `UserError` if its files are damaged, or name a class that is not TFDS's own.
    """
    described = read_json(folder / _FEATURES, _remedy(folder))
    for key, name in _classes(described):
        if not isinstance(name, str) or not _OWN.fullmatch(name):
            raise UserError(
                f"{key} in {folder / _FEATURES} is {shorten(name)}, which is not a class of TFDS "
                "itself: opening such a dataset with TFDS would run its author's code; prepare it "
                "again without this feature"
            )
    stored = read_json(folder / DATASET_INFO, _remedy(folder))
    file = DATASET_INFO
    try:
        info = convert(_DatasetInfo, stored, "")
        shards = {split.name: _shards(info.name, info.fileFormat, split) for split in info.splits}
        file = _FEATURES
        features = convert(_Features, described, "").featuresDict.features
        image, label = (
            convert(_Feature, features[name], f"featuresDict.features.{name}")
            if name in features
            else None
            for name in ("image", "label")
        )
    except ValueError as error:
        raise unfit(folder / file, error, _remedy(folder)) from None
    return Prepared(folder, info.fileFormat, shards, frozenset(features), image, label)


def _remedy(folder: Path) -> str:
    """Returns the advice for a damaged set."""
    return f"remove {folder} and prepare the set again"


def fingerprint(files: list[Path], *, times: bool) -> str:
    """Returns a digest of the names and sizes of files, and with `times` of their mtimes."""
    stats = [(path.name, path.stat()) for path in files]
    states = [
        (name, stat.st_size, stat.st_mtime_ns) if times else (name, stat.st_size)
        for name, stat in stats
    ]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _classes(document: Any) -> Iterator[tuple[str, Any]]:
    """Yields the key and the value of every class name in features.json, at any depth."""
    open_values = [("", document)]
    while open_values:
        key, value = open_values.pop()
        if isinstance(value, dict):
            if _CLASS_NAME in value:
                yield f"{key}.{_CLASS_NAME}".lstrip("."), value[_CLASS_NAME]
            open_values += [(f"{key}.{name}".lstrip("."), child) for name, child in value.items()]
        elif isinstance(value, list):
            open_values += [(f"{key}[{index}]", child) for index, child in enumerate(value)]


def _shards(dataset: str, file_format: str, split: _StoredSplit) -> dict[str, int]:
    """Returns the number of records in each file of a split, by file name in TFDS's scheme."""
    counts = split.shardLengths
    digits = max(5, len(str(len(counts))))
    shards = {}
    for index, count in enumerate(counts):
        name = split.filepathTemplate
        number, total = f"{index:0{digits}}", f"{len(counts):0{digits}}"
        for variable, text in {
            "DATASET": dataset,
            "SPLIT": split.name,
            "FILEFORMAT": file_format,
            "SHARD_X_OF_Y": f"{number}-of-{total}",
            "SHARD_INDEX": number,
            "NUM_SHARDS": total,
        }.items():
            name = name.replace(f"{{{variable}}}", text)
        if not re.fullmatch(r"[\w.%+-]{1,200}", name):
            raise ValueError(
                f"the split {shorten(split.name)} is stored in {shorten(name)}, which is not the "
                "name of a file in the same folder"
            )
        shards[name] = count
    return shards
