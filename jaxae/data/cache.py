"""Caches decoded arrays on disk, memory-mapped, until the data that they come from changes.

Each load computes the fingerprint again, which serves as a checksum of the whole cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from jaxae.data import prepared
from jaxae.data.dataset import Dataset, Scaling, Split, assemble

FOLDER = "jaxae_arrays"  # beside a prepared set
METADATA = "metadata.json"


def identity(folder: Path, label: str | None = None) -> str:
    """Returns a digest of the label, and of the names, sizes and times of the files of a set."""
    state = prepared.fingerprint(prepared.read(folder).files(), times=True)
    return hashlib.sha256(f"{state} {label}".encode()).hexdigest()


def place_of(folder: Path, label: str | None) -> Path:
    """Returns the folder of the cache of the prepared set in `folder`, with this label."""
    return folder / (FOLDER if label is None else f"{FOLDER}.{label.replace('/', '.')}")


def read(folder: Path, name: str, label: str | None = None) -> Dataset | None:
    """Returns the cached arrays of the prepared set in `folder`, as `read_arrays` does."""
    try:
        return read_arrays(place_of(folder, label), name, identity(folder, label))
    except Exception:  # the set's own files are damaged, which decoding reports
        return None


def read_arrays(cache: Path, name: str, expected: str, *, own: bool = False) -> Dataset | None:
    """Returns the dataset in a cache; None if it is missing, stale or damaged.

    It is stale if its data had another identity than `expected`. Any change of the fingerprint
    counts as damage: a flipped bit, a shape, a dtype, a class name.
    """
    try:
        metadata = read_metadata(cache)
        if metadata["identity"] != expected:
            return None
        dataset = assemble(
            name,
            _map_split(cache, "train"),
            _map_split(cache, "test"),
            tuple(metadata["class_names"]),
            scaling=_read_scaling(metadata["scaling"]) if "scaling" in metadata else None,
            own=own,
        )
        return dataset if dataset.fingerprint == metadata["fingerprint"] else None
    except Exception:  # the cache is missing, or NumPy, JSON or tokenize fails on a damaged file
        return None


def _read_scaling(value: dict) -> Scaling:
    """Reads a scaling from JSON; raises an error of some kind if it is none."""
    return Scaling(tuple(map(float, value["offset"])), tuple(map(float, value["scale"])))


def mapped(cache: Path, dataset: Dataset) -> Dataset:
    """Returns a dataset that was just written to a cache with its arrays mapped from there."""
    return replace(dataset, train=_map_split(cache, "train"), test=_map_split(cache, "test"))


def _map_split(cache: Path, split: str) -> Split:
    """Maps a split's arrays; without a file of labels it has none."""
    labels = cache / f"{split}_labels.npy"
    return Split(
        np.load(cache / f"{split}_images.npy", mmap_mode="r"),
        np.load(labels, mmap_mode="r") if labels.exists() else None,
    )


def read_metadata(cache: Path) -> dict:
    """Reads a cache's metadata, unchecked; raises an error of many kinds if it is damaged."""
    return json.loads((cache / METADATA).read_text(encoding="utf-8"))


def write_metadata(place: Path, dataset: Dataset, identity: str, **more: object) -> None:
    """Writes the metadata of a dataset whose arrays are in `place`."""
    metadata = {
        "identity": identity,
        "fingerprint": dataset.fingerprint,
        "class_names": dataset.class_names,
    }
    if dataset.scaling is not None:
        metadata["scaling"] = asdict(dataset.scaling)
    (place / METADATA).write_text(json.dumps(metadata | more), encoding="utf-8")


@contextlib.contextmanager
def staging(cache: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces the cache at the end; an error leaves no files."""
    place = cache.with_name(f".{cache.name}.incomplete")
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir(parents=True)
        yield place
        shutil.rmtree(cache, ignore_errors=True)
        place.replace(cache)
    finally:
        shutil.rmtree(place, ignore_errors=True)
