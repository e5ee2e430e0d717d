"""Reads a user's own data as the cache does: all pieces, put together, and scaled."""

from pathlib import Path

import numpy as np
import pytest

from jaxae.data.dataset import Scaling, Split
from jaxae.data.reading import Opened, Reader, Reading
from jaxae.errors import UserError


def read(opened: Opened) -> dict[str, np.ndarray]:
    """Returns the unscaled examples of each split; fails unless each position comes once."""
    arrays = {
        split: np.zeros((count, *opened.shape), opened.dtype)
        for split, count in opened.counts.items()
    }
    seen = {split: np.zeros(count, int) for split, count in opened.counts.items()}
    for piece in opened.read():
        assert piece.examples.dtype == opened.dtype
        assert piece.examples.shape == (len(piece.positions), *opened.shape)
        arrays[piece.split][piece.positions] = piece.examples
        seen[piece.split][piece.positions] += 1
    assert all((times == 1).all() for times in seen.values())
    return arrays


def scale(opened: Opened, arrays: dict[str, np.ndarray]) -> tuple[Scaling, dict[str, np.ndarray]]:
    """Returns the scaling by the training split, and all splits scaled."""
    assert opened.scaling
    scaling = opened.scaling(arrays["train"])
    return scaling, {split: scaling.apply(values) for split, values in arrays.items()}


def load(reader: Reader, path: Path, reading: Reading = Reading()) -> dict[str, Split]:
    """Returns the splits at a path, scaled."""
    opened = reader.open(path, reading)
    arrays = read(opened)
    if opened.scaling:
        _, arrays = scale(opened, arrays)
    labels = opened.labels or dict.fromkeys(arrays)
    return {split: Split(values, labels[split]) for split, values in arrays.items()}


def error_of(reader: Reader, path: Path, reading: Reading = Reading()) -> str:
    """Returns the message of the `UserError` of reading a path, which is one paragraph."""
    with pytest.raises(UserError) as caught:
        load(reader, path, reading)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    assert message == message.strip()
    return message
