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

from jaxae.data.prepared import features
from jaxae.errors import UserError
from jaxae.files import Least, Most, Quoted, convert, read_json, shorten, unfit

DATASET_INFO = "dataset_info.json"

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""The template of shard names for splits that give none."""

_CLASS_NAME = "pythonClassName"  # a key in features.json

_OWN = re.compile(r"tensorflow_datasets\.core\.features\.[\w.]+")
"""Matches TFDS's own feature classes; only an image and a label are read."""

_MOST_RECORDS = 2**31 - 1  # indices of records are int32


# The entries of dataset_info.json that this module reads, under TFDS's names.


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
class Prepared:
    """The description of a prepared set, from its folder."""

    folder: Path
    file_format: str
    shards: Mapping[str, Mapping[str, int]]  # for each split, the number of records by file name
    features: features.Features

    def files(self) -> list[Path]:
        """Returns the set's own files, sorted by name, without other files in the folder."""
        own = {DATASET_INFO, features.FILE, "metadata.json", "LICENSE"}.union(*self.shards.values())
        files = {path.name: path for path in self.folder.iterdir() if path.is_file()}
        return [
            files[name]
            for name in sorted(files)
            if name in own or (name.endswith(features.NAMES) and not name.startswith("."))
        ]


def split_version(name: str) -> tuple[str, str | None]:
    """Splits TFDS's "name:version" or "name/configuration:version"; the version may be missing."""
    base, _, version = name.partition(":")
    return base, version or None


def find(data_dir: Path, name: str) -> Path | None:
    """Returns the folder of the prepared version of `name` in TFDS's layout, or None.

    It is the newest one, unless the name ends in a version, as in "mnist:3.0.1". Raises `UserError`
    if only configurations of `name` are prepared: the user must name one.
    """
    name, version = split_version(name)
    if version is not None:
        folder = data_dir / name / version
        return folder if (folder / DATASET_INFO).exists() else None
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
    described = read_json(folder / features.FILE, features.remedy(folder))
    for key, name in _classes(described):
        if not isinstance(name, str) or not _OWN.fullmatch(name):
            raise UserError(
                f"{key} in {folder / features.FILE} is {shorten(name)}, which is not a class of "
                "TFDS itself: opening such a dataset with TFDS would run its author's code; "
                "prepare it again without this feature"
            )
    stored = read_json(folder / DATASET_INFO, features.remedy(folder))
    try:
        info = convert(_DatasetInfo, stored, "")
        shards = {split.name: _shards(info.name, info.fileFormat, split) for split in info.splits}
    except ValueError as error:
        raise unfit(folder / DATASET_INFO, error, features.remedy(folder)) from None
    return Prepared(folder, info.fileFormat, shards, features.parse(folder, described))


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
