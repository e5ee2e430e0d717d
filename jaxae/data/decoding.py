"""Decodes prepared sets to arrays, or opens them as streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxae.data import shards, verified
from jaxae.data.dataset import Dataset, Split, assemble
from jaxae.data.prepared import Prepared, fingerprint, read
from jaxae.data.streaming import streamed
from jaxae.errors import UserError

_RECORDS_AT_ONCE = 1000


def decode(folder: Path, name: str) -> Dataset:
    """Returns the prepared set in `folder` as arrays.

    MNIST and Fashion-MNIST are verified to be the originals and come in the order of the original
    files; other sets come in TFDS's order. Raises `UserError` if the set is damaged, is stored in a
    format without random access, lacks labeled images or one of the two splits, or has images of
    several sizes.
    """
    prepared = _read_labeled(folder, name)
    train = shards.open_split(prepared, "train")
    test = shards.open_split(prepared, "test", train.shape)
    splits = {"train": _decode(train), "test": _decode(test)}
    if name in verified.ARRAYS:
        for split in splits:
            splits[split] = verified.in_original_order(splits[split], split, folder, name)
    return assemble(name, splits["train"], splits["test"], prepared.class_names())


def open_stream(folder: Path, name: str, workers: int) -> Dataset:
    """Returns the prepared set in `folder` with a training split that stays on disk.

    Order and errors are those of `decode`, except that the training split is not verified to be the
    original, because that would read all of it. The fingerprint covers the files' names and sizes.
    """
    prepared = _read_labeled(folder, name)
    train = shards.open_split(prepared, "train")
    test = _decode(shards.open_split(prepared, "test", train.shape))
    positions = None
    if name in verified.ARRAYS:
        positions = verified.stored_positions(len(train), "train")
        test = verified.in_original_order(test, "test", folder, name)
    identity = fingerprint(prepared.files(), times=False)
    split = streamed(train, positions, workers)
    return Dataset(name, split, test, prepared.class_names(), identity)


def _read_labeled(folder: Path, name: str) -> Prepared:
    """Reads the description of a set; raises `UserError` unless it has labeled images."""
    prepared = read(folder)
    if not prepared.is_labeled():
        found = ", ".join(sorted([*prepared.features, *prepared.shards]))
        raise UserError(
            f"{name} in {folder} has no labeled 8-bit images: a dataset needs the features 'image' "
            f"and 'label' and the splits 'train' and 'test', but this one has {found}: give another"
        )
    return prepared


def _decode(split: shards.Shards) -> Split:
    """Decodes all images and labels of a split."""
    try:
        images = np.empty((len(split), *split.shape), np.uint8)
    except (MemoryError, ValueError):
        raise UserError(
            f"{len(split)} images of shape {split.shape} do not fit in memory: read them from disk "
            "with --stream"
        ) from None
    labels = np.empty(len(split), np.int32)
    with shards.no_bombs():
        for start in range(0, len(split), _RECORDS_AT_ONCE):
            part = slice(start, start + _RECORDS_AT_ONCE)
            images[part], labels[part] = split.read(range(len(split))[part])
    return Split(images, labels)
