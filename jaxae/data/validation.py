"""Holds training images out for validation, so that nothing has to be chosen on test images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jaxae.data import stored
from jaxae.data.dataset import Dataset, Split
from jaxae.data.streaming import Column, take
from jaxae.errors import UserError

VALIDATION_SEED = 0
"""Seed of the choice of validation images. Never change it: runs would mix their images."""


def hold_out_validation(dataset: Dataset, count: int) -> Dataset:
    """Returns a dataset with `count` of its training images moved to the split `validation`.

    They are chosen at random, the same ones each time, and both splits keep the order of the
    original. The fingerprint stays that of the whole dataset. Images on disk stay there. The
    dataset is returned as it is if it already holds out `count` images, also if both are 0.

    Raises:
      UserError: the count is negative, would leave no training images, or differs from the number
        that the dataset already holds out.
    """
    before = dataset.validation_images
    if before and before != count:
        raise UserError(
            f"--validation {count}: {before} images of {dataset.name} are held out already; give "
            f"the whole dataset, or --validation {before}"
        )
    if before:
        return dataset
    size = len(dataset.train.images)
    if not 0 <= count < size:
        raise UserError(
            f"--validation {count}: {dataset.name} has {size} training images, and at least one "
            f"must be left to train on; give 0 to {size - 1}"
        )
    if count == 0:
        return dataset
    held_out, kept = validation_positions(size, count)
    train, validation = (_take(dataset.train, positions) for positions in (kept, held_out))
    return replace(dataset, train=train, validation=validation)


def validation_positions(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of `size` images are held out, and which are kept: ascending int [N] each."""
    order = np.random.default_rng(VALIDATION_SEED).permutation(size)
    return np.sort(order[:count]), np.sort(order[count:])


def _take(split: Split, positions: np.ndarray) -> Split:
    """Returns the examples of a split at positions [N], on disk or as read-only arrays."""
    images, labels = (
        None if column is None else _take_from(column, positions)
        for column in (split.images, split.labels)
    )
    assert images is not None
    return Split(images, labels)


def _take_from(column: Any, positions: np.ndarray) -> Any:
    if isinstance(column, Column):
        return Column(take(column.split, positions), column.index)
    taken = np.empty((len(positions), *column.shape[1:]), column.dtype)
    for part in stored.parts(taken):
        taken[part] = column[positions[part]]
        stored.release(column)
    taken.flags.writeable = False
    return taken
