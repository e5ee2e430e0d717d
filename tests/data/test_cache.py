"""The cache of decoded arrays: a damaged or stale one is replaced, with a message."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxae import data
from jaxae.data import cache
from jaxae.data.prepared import decoding, sets, shards
from jaxae.data.streaming import StreamedSplit
from jaxae.errors import UserError
from support import tiny
from support.tiny import assert_small_mnist

small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)
source_root = pytest.fixture(tiny.source_root)


def flip_bit(file: Path, position: int) -> None:
    """Flips the lowest bit of one byte; a negative position counts from the end."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def change_metadata(folder: Path, key: str, value: Any) -> None:
    """Changes an entry of a cache's metadata; None removes it."""
    file = folder / cache.METADATA
    metadata = json.loads(file.read_text())
    metadata[key] = value
    file.write_text(json.dumps({k: v for k, v in metadata.items() if v is not None}))


def save(file: Path, array: np.ndarray) -> None:
    """Replaces an array's file with another array."""
    np.save(file, array, allow_pickle=True)


SPOILS: dict[str, Callable[[Path], object]] = {
    "cut": lambda folder: os.truncate(folder / "train_images.npy", 1000),
    "empty": lambda folder: os.truncate(folder / "train_images.npy", 0),
    "missing": lambda folder: (folder / "test_labels.npy").unlink(),
    "a bit of an image": lambda folder: flip_bit(folder / "train_images.npy", -1),
    "a bit of a label": lambda folder: flip_bit(folder / "test_labels.npy", -4),
    "a bit of a header": lambda folder: flip_bit(folder / "train_labels.npy", 20),
    "another shape": lambda folder: save(
        folder / "train_images.npy", np.zeros((40, 14, 14, 4), np.uint8)
    ),
    "another dtype": lambda folder: save(
        folder / "train_images.npy", np.zeros((40, 28, 28, 1), np.int8)
    ),
    "objects": lambda folder: save(folder / "train_labels.npy", np.array([{}] * 40)),
    "no metadata": lambda folder: (folder / cache.METADATA).unlink(),
    "cut metadata": lambda folder: (folder / cache.METADATA).write_text("{"),
    "metadata of another kind": lambda folder: (folder / cache.METADATA).write_text("[]"),
    "a class name less": lambda folder: change_metadata(folder, "class_names", list("012345678")),
    "no class names": lambda folder: change_metadata(folder, "class_names", None),
    "class names of another kind": lambda folder: change_metadata(folder, "class_names", 3),
    "numbers for class names": lambda folder: change_metadata(folder, "class_names", [1, 2]),
    "another fingerprint": lambda folder: change_metadata(folder, "fingerprint", "0" * 64),
    "no fingerprint": lambda folder: change_metadata(folder, "fingerprint", None),
    "another state of the set": lambda folder: os.utime(folder.parent / sets.DATASET_INFO, (0, 0)),
}


@pytest.mark.slow
def test_caches_that_do_not_fit_are_replaced_with_a_message(
    source_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = data.load("mnist", data_dir=tmp_path, sources=source_root)
    folder = sets.find(tmp_path, "mnist")
    assert folder is not None
    capsys.readouterr()
    for name, spoil in SPOILS.items():
        spoil(folder / cache.FOLDER)
        assert cache.read(folder, "mnist") is None, name
        again = data.load("mnist", data_dir=tmp_path)
        assert_small_mnist(again)
        assert again.fingerprint == first.fingerprint
        assert capsys.readouterr().err.count("decoding mnist again") == 1
        assert cache.read(folder, "mnist") is not None
    assert not list(folder.glob("*incomplete*"))


@pytest.mark.slow
def test_a_damaged_cache_is_decoded_again_before_it_is_streamed(
    source_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    folder = sets.find(tmp_path, "mnist")
    assert folder is not None
    capsys.readouterr()
    flip_bit(folder / cache.FOLDER / "train_images.npy", -1)
    streamed = data.load("mnist", data_dir=tmp_path, stream=True)
    assert_small_mnist(replace(streamed, train=data.load("mnist", data_dir=tmp_path).train))
    np.testing.assert_array_equal(
        streamed.train.images[:], data.load("mnist", data_dir=tmp_path).train.images
    )
    assert capsys.readouterr().err.count("decoding mnist again") == 1


def test_without_room_for_a_cache_as_many_processes_decode(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    folder = sets.find(tmp_path, "mnist")
    assert folder is not None
    shutil.rmtree(folder / cache.FOLDER)
    asked = []

    def read_in(split: StreamedSplit) -> Any:
        asked.append(split.workers)
        return contextlib.nullcontext(split.read)

    monkeypatch.setattr(decoding, "open_reader", read_in)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert_small_mnist(data.load("mnist", data_dir=tmp_path, workers=3))
    assert asked == [0, 3]  # of the test and the training images


def test_a_damaged_cache_leaves_its_room_to_its_replacement(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = data.load("mnist", data_dir=tmp_path, sources=source_root, stream=True)
    folder = sets.find(tmp_path, "mnist")
    assert folder is not None
    (folder / cache.FOLDER / cache.METADATA).unlink()

    def disk_usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=0 if (folder / cache.FOLDER).exists() else 10**9)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert_small_mnist(data.load("mnist", data_dir=tmp_path))
    assert cache.read(folder, "mnist") is not None
    with pytest.raises(UserError, match="another process has replaced it"):  # a reader of the old
        np.asarray(streamed.train.images)
    shutil.rmtree(folder / cache.FOLDER)
    with pytest.raises(UserError, match=r"cannot be read now .*No such file.*with --resume"):
        np.asarray(streamed.train.images)


@pytest.mark.parametrize("stream", [False, True])
def test_decoding_that_is_interrupted_leaves_nothing_and_starts_again(
    stream: bool, source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, decoded = shards.decode_image, []

    def interrupted(*arguments: Any) -> np.ndarray:
        decoded.append(1)
        if len(decoded) == 45:  # 20 test images, then some of 40 training images
            raise KeyboardInterrupt
        return decode(*arguments)

    load = partial(data.load, "mnist", data_dir=tmp_path, sources=source_root, stream=stream)
    with monkeypatch.context() as patch:
        patch.setattr(shards, "decode_image", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load()
    assert not list(tmp_path.rglob("*jaxae_arrays*"))
    folder = sets.find(tmp_path, "mnist")
    assert folder is not None
    left = folder / f".{cache.FOLDER}.incomplete"  # by a process that was killed
    left.mkdir()
    (left / "train_images.npy").write_bytes(b"half")
    np.testing.assert_array_equal(load().train.images[:3], load().train.images[:3])
    assert [path.name for path in tmp_path.rglob("*jaxae_arrays*")] == [cache.FOLDER]
    assert_small_mnist(data.load("mnist", data_dir=tmp_path))


def test_no_flipped_bit_of_a_cached_array_goes_unnoticed(source_root: Path, tmp_path: Path) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    folder = sets.find(tmp_path, "mnist")
    assert folder is not None
    random = np.random.default_rng(0)
    for file in sorted((folder / cache.FOLDER).glob("*.npy")):
        for position in random.integers(file.stat().st_size, size=10).tolist():
            flip_bit(file, position)
            found = cache.read(folder, "mnist")
            if found is not None:
                assert position < 128  # in the header, which contains spaces
                assert_small_mnist(found)
            flip_bit(file, position)
