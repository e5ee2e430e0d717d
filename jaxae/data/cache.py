"""Caches a prepared set's decoded arrays beside it, memory-mapped, until the set changes.

Each load computes the fingerprint again, which serves as a checksum of the whole cache.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from jaxae.data import prepared
from jaxae.data.dataset import Dataset, Split, assemble

FOLDER = "jaxae_arrays"
METADATA = "metadata.json"


def identity(folder: Path) -> str:
    """Returns a digest of the names, sizes and times of the files of the set in `folder`."""
    return prepared.fingerprint(prepared.read(folder).files(), times=True)


def read(folder: Path, name: str) -> Dataset | None:
    """Returns the cached arrays of the set in `folder`; None if missing, stale or damaged.

    Any change of the fingerprint counts as damage: a flipped bit, a shape, a dtype, a class name.
    """
    cache = folder / FOLDER
    try:
        metadata = json.loads((cache / METADATA).read_text(encoding="utf-8"))
        if metadata["identity"] != identity(folder):
            return None
        train, test = (
            Split(
                np.load(cache / f"{split}_images.npy", mmap_mode="r"),
                np.load(cache / f"{split}_labels.npy", mmap_mode="r"),
            )
            for split in ("train", "test")
        )
        dataset = assemble(name, train, test, tuple(metadata["class_names"]))
        return dataset if dataset.fingerprint == metadata["fingerprint"] else None
    except Exception:  # the cache is missing, or NumPy, JSON or tokenize fails on a damaged file
        return None


def write(folder: Path, dataset: Dataset) -> None:
    """Caches `dataset`, which was decoded from `folder`; the caller holds the set's lock.

    Raises `OSError` if the disk is full or the folder is not writable, and then leaves no files.
    """
    staging = folder / f".{FOLDER}.incomplete"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        for name, split in (("train", dataset.train), ("test", dataset.test)):
            np.save(staging / f"{name}_images.npy", split.images)
            np.save(staging / f"{name}_labels.npy", split.labels)
        metadata = {
            "identity": identity(folder),
            "fingerprint": dataset.fingerprint,
            "class_names": dataset.class_names,
        }
        (staging / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        staging.replace(folder / FOLDER)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
