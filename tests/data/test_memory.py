"""Datasets made of arrays in memory equal those of files with the same arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxae import data
from jaxae.errors import UserError

GENERATOR = np.random.default_rng(0)
BYTES = GENERATOR.integers(0, 256, (40, 6, 5), np.uint8)
LABELS = np.arange(40) % 3
FLOATS = (BYTES / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ({"images": BYTES, "labels": LABELS}, {}),
        ({"images": FLOATS[..., None] * 16, "labels": LABELS}, {"scale": "minmax"}),
        ({"images": FLOATS.reshape(40, -1)}, {}),
        ({"images": np.stack([BYTES] * 3, 1)}, {"channels_first": True}),
        (
            {"images": BYTES, "labels": LABELS, "test": BYTES[:5], "test_labels": LABELS[:5]},
            {"class_names": ["a", "b", "c"]},
        ),
    ],
)
def test_arrays_in_memory_are_those_of_a_file(
    named: dict[str, Any], options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    held = data.from_arrays(**named, **options)
    keys = {"images": "x_train", "labels": "y_train", "test": "x_test", "test_labels": "y_test"}
    stored = {keys[key]: values for key, values in named.items()}
    if "class_names" in options:
        stored["class_names"] = options.pop("class_names")
    np.savez(tmp_path / "set.npz", **stored)
    read = data.load(str(tmp_path / "set.npz"), reading=data.Reading(**options))
    assert held.fingerprint == read.fingerprint
    assert (held.own, held.class_names, held.scaling) == (True, read.class_names, read.scaling)
    for split in ("train", "test"):
        images = getattr(held, split).images
        np.testing.assert_array_equal(images, getattr(read, split).images)
        assert not images.flags.writeable


def test_the_given_arrays_stay_writable_and_unchanged() -> None:
    images, labels = FLOATS.copy(), LABELS.copy()
    dataset = data.from_arrays(images, labels, test=images, test_labels=labels, scale="minmax")
    assert images.flags.writeable
    np.testing.assert_array_equal(images, FLOATS)
    assert not np.shares_memory(dataset.train.images, images)


def test_test_images_beyond_the_range_of_training_are_clipped_and_vectors_are_not() -> None:
    images = data.from_arrays(FLOATS, test=3 * FLOATS - 1, scale="minmax").test.images
    assert (images.min(), images.max()) == (0, 1)
    vectors = FLOATS.reshape(40, -1)
    assert data.from_arrays(vectors, test=3 * vectors, scale="minmax").test.images.max() > 2


def test_lists_are_arrays() -> None:
    dataset = data.from_arrays([[0.0, 1.0], [2.0, 5.0]], ["cat", "dog"], scale="none")
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset.train.images) == len(dataset.test.images) == 1


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "floats beyond 1": (lambda: data.from_arrays(16 * FLOATS), "from 0 to 16.*minmax"),
    "an unknown scale": (
        lambda: data.from_arrays(FLOATS, scale="unit"),  # pyright: ignore[reportArgumentType]
        "scale 'unit': give one of minmax",
    ),
    "ragged lists": (lambda: data.from_arrays([[1], [1, 2]]), "type list, cannot be made an array"),
    "text": (lambda: data.from_arrays("images"), r"<U6 of shape \(\)"),
    "objects": (lambda: data.from_arrays(np.full((3, 2), None)), "object of shape"),
    "complex numbers": (lambda: data.from_arrays(FLOATS * 1j), "complex"),
    "no example": (lambda: data.from_arrays(FLOATS[:0]), r"shape \(0, 6, 5\)"),
    "one example": (lambda: data.from_arrays(FLOATS[:1]), "holds 1 example: give 2 or more"),
    "an axis too many": (lambda: data.from_arrays(FLOATS[..., None, None]), "the array images has"),
    "NaN": (lambda: data.from_arrays(FLOATS * np.nan), "1200 NaN or infinite numbers"),
    "channels first": (lambda: data.from_arrays(np.stack([FLOATS] * 3, 1)), "N, C, H, W"),
    "few labels": (lambda: data.from_arrays(FLOATS, LABELS[:3]), "3 labels for 40 examples"),
    "one-hot labels": (lambda: data.from_arrays(FLOATS, np.eye(40)), "argmax"),
    "fractions as labels": (lambda: data.from_arrays(FLOATS, LABELS + 0.5), "no whole number"),
    "labels of training alone": (
        lambda: data.from_arrays(FLOATS, LABELS, test=FLOATS),
        "training examples alone",
    ),
    "labels of nothing": (
        lambda: data.from_arrays(FLOATS, test_labels=LABELS),
        "no test examples",
    ),
    "tests of another size": (
        lambda: data.from_arrays(FLOATS, test=FLOATS[:, :3]),
        r"\(3, 5, 1\), but the training",
    ),
    "names of no labels": (lambda: data.from_arrays(FLOATS, class_names=["a"]), "has no labels"),
    "too few names": (lambda: data.from_arrays(FLOATS, LABELS, class_names=["a"]), "from 0 to 2"),
    "an empty name": (lambda: data.from_arrays(FLOATS, name=" "), "give some text"),
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_cannot_be_used_are_refused_in_one_paragraph(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
