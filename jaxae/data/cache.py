"""Decoded arrays beside a prepared set, memory-mapped, valid as long as that set is unchanged.

The fingerprint of what is loaded is computed anew, and serves as the checksum of all of it.
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
    """A digest of the names, sizes and times of the files of the set prepared in `folder`."""
    return prepared.fingerprint(prepared.read(folder).files(), times=True)


def read(folder: Path, name: str) -> Dataset | None:
    """The arrays cached for the set prepared in `folder`; None where missing, stale or damaged.

    Damage is whatever changes the fingerprint: a flipped bit, another shape or dtype, a class name.
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
    except Exception:  # absent, or whatever NumPy, JSON and tokenize make of damage
        return None


def write(folder: Path, dataset: Dataset) -> None:
    """Caches `dataset`, decoded from `folder`; the caller holds the lock of the set.

    Raises OSError, and leaves nothing, where there is no room or no right to write.
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
