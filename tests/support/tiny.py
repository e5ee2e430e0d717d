"""Small stand-ins for the original archives with their 60,000 images."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from jaxae import data
from jaxae.data.prepared import formats, verified

_COUNTS = {
    verified.TRAIN_IMAGES: 40,
    verified.TRAIN_LABELS: 40,
    verified.TEST_IMAGES: 20,
    verified.TEST_LABELS: 20,
}


def arrays(seed: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a small dataset: 40 training and 20 test images, with labels."""
    generator = np.random.default_rng(seed)
    return {
        file: generator.integers(0, 256, (count, 28, 28), np.uint8)
        if "images" in file
        else np.arange(count, dtype=np.uint8) % 10
        for file, count in _COUNTS.items()
    }


def idx(array: np.ndarray) -> bytes:
    """Encodes a uint8 array as an IDX file."""
    return formats.idx_header(array.shape) + array.tobytes()


def original(contents: dict[str, np.ndarray]) -> dict[str, verified.Array]:
    """Returns the entry of `verified.ARRAYS` for a dataset with these arrays."""
    return {
        file: verified.Array(array.shape, hashlib.sha256(idx(array)).hexdigest())
        for file, array in contents.items()
    }


def write(folder: Path, contents: dict[str, np.ndarray]) -> Path:
    """Writes the four archives to `folder`."""
    folder.mkdir(parents=True)
    for file, array in contents.items():
        (folder / file).write_bytes(gzip.compress(idx(array)))
    return folder


ARRAYS = arrays(seed=0)


def small_mnist(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Replaces MNIST by the small one, unless a test uses the full archives; presets no folder."""
    monkeypatch.delenv("JAXAE_SOURCES", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    if "sources" not in request.fixturenames:
        monkeypatch.setitem(verified.ARRAYS, "mnist", original(ARRAYS))


def source_root(tmp_path: Path) -> Path:
    """Writes a source folder with the small MNIST, and returns it."""
    return write(tmp_path / "sources/mnist", ARRAYS).parent


def assert_small_mnist(dataset: data.Dataset) -> None:
    assert dataset.name == "mnist"
    assert dataset.class_names == tuple("0123456789")
    assert not dataset.bundled
    assert dataset.train.images.dtype == dataset.test.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train.images[..., 0], ARRAYS[verified.TRAIN_IMAGES])
    np.testing.assert_array_equal(dataset.train.labels, ARRAYS[verified.TRAIN_LABELS])
    np.testing.assert_array_equal(dataset.test.images[..., 0], ARRAYS[verified.TEST_IMAGES])
    np.testing.assert_array_equal(dataset.test.labels, ARRAYS[verified.TEST_LABELS])


def left_over(folder: Path) -> list[str]:
    """Returns all paths below `folder` except for lock files."""
    return [str(path) for path in folder.rglob("*") if path.suffix != ".lock"]
