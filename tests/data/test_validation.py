"""Training images held out for validation: which ones, from any source, on disk or in memory."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxae import data, files
from jaxae.data import bundled, prepared
from jaxae.data.validation import validation_positions
from jaxae.errors import UserError

VECTORS = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 4


@pytest.fixture(scope="module")
def mini() -> data.Dataset:
    return data.load("mnist_mini")


def assert_same_split(split: data.Split | None, expected: data.Split | None) -> None:
    assert split is not None
    assert expected is not None
    np.testing.assert_array_equal(np.asarray(split.images), expected.images)
    if expected.labels is None:
        assert split.labels is None
    else:
        np.testing.assert_array_equal(np.asarray(split.labels), expected.labels)


def test_the_choice_never_changes() -> None:
    """Never update these numbers: a saved run would be evaluated on images that it trained on."""
    held_out, kept = validation_positions(20, 6)
    assert held_out.tolist() == [2, 4, 6, 13, 16, 19]
    assert sorted([*held_out, *kept]) == list(range(20))
    held_out, _ = validation_positions(60_000, 5000)
    assert (held_out[:4].tolist(), held_out.sum()) == ([9, 24, 49, 60], 149_360_895)


@pytest.mark.parametrize("count", [1, 500, 4999])
def test_every_image_is_on_one_side_in_the_order_of_the_original(
    count: int, mini: data.Dataset
) -> None:
    divided = data.load("mnist_mini", validation=count)
    order = np.random.default_rng(0).permutation(5000)
    assert divided.validation is not None
    assert mini.train.labels is not None
    assert divided.validation_images == count
    sides = {"train": order[count:], "validation": order[:count]}
    for name, positions in sides.items():
        split = getattr(divided, name)
        chosen = np.isin(np.arange(5000), positions)
        np.testing.assert_array_equal(split.images, mini.train.images[chosen])
        np.testing.assert_array_equal(split.labels, mini.train.labels[chosen])
        for array in (split.images, split.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    assert divided.fingerprint == mini.fingerprint
    assert_same_split(divided.test, mini.test)


def test_nothing_is_held_out_unless_it_is_asked_for(mini: data.Dataset) -> None:
    assert mini.validation is None
    assert mini.validation_images == 0
    assert data.hold_out_validation(mini, 0) is mini


def test_a_divided_dataset_is_not_divided_again(mini: data.Dataset) -> None:
    divided = data.hold_out_validation(mini, 500)
    assert data.hold_out_validation(divided, 500) is divided
    for count in (0, 400):
        with pytest.raises(UserError, match=f"--validation {count}: 500 images of mnist_mini are"):
            data.hold_out_validation(divided, count)


@pytest.mark.parametrize("count", [-1, 5000, 60_000])
def test_too_many_or_too_few_images_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"--validation {count}: .* 5000 .* give 0 to 4999"):
        data.load("mnist_mini", validation=count)


def test_the_subset_is_divided_if_the_full_dataset_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JAXAE_SOURCES", raising=False)
    monkeypatch.setattr(prepared, "find_archives", lambda *_: None)
    monkeypatch.setattr(prepared, "download_problem", lambda _: "there is no network")
    dataset = data.load_default("mnist", data_dir=tmp_path, validation=500)
    assert dataset.name in bundled.NAMES
    assert (len(dataset.train.images), dataset.validation_images) == (4500, 500)
    with pytest.raises(UserError, match="give 0 to 4999"):
        data.load_default("mnist", data_dir=tmp_path, validation=5000)
    assert capsys.readouterr().err.count("NOT THE FULL DATASET") == 2


@pytest.fixture
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with vectors in a file, with and without labels; the user's cache is beside it."""
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    np.save(tmp_path / "plain.npy", VECTORS)
    np.savez(tmp_path / "labeled.npz", images=VECTORS, labels=LABELS)
    return tmp_path


@pytest.mark.parametrize("name", ["plain.npy", "labeled.npz"])
def test_own_data_is_divided_alike_in_memory_and_on_disk(name: str, own_files: Path) -> None:
    path = str(own_files / name)
    whole, resident, streamed = (
        data.load(path, validation=count, stream=stream)
        for count, stream in ((0, False), (5, False), (5, True))
    )
    assert whole.fingerprint == resident.fingerprint == streamed.fingerprint
    assert isinstance(streamed.train.images, data.Column)
    assert streamed.validation is not None
    assert isinstance(streamed.validation.images, data.Column)
    assert_same_split(streamed.train, resident.train)
    assert_same_split(streamed.validation, resident.validation)
    held_out, kept = validation_positions(len(whole.train.images), 5)
    np.testing.assert_array_equal(resident.train.images, whole.train.images[kept])
    assert len(streamed.train.images) == len(kept)
    np.testing.assert_array_equal(
        streamed.validation.images[1:3], whole.train.images[held_out][1:3]
    )
    assert resident.scaling == whole.scaling  # of the whole training split


def test_arrays_in_memory_are_divided_as_those_of_a_file(own_files: Path) -> None:
    held = data.from_arrays(VECTORS, LABELS, name="labeled.npz")
    read = data.load(str(own_files / "labeled.npz"), validation=5)
    divided = data.hold_out_validation(held, 5)
    assert_same_split(divided.train, read.train)
    assert_same_split(divided.validation, read.validation)
    assert divided.fingerprint == read.fingerprint


def test_a_stream_of_held_out_images_reads_the_same_file(own_files: Path) -> None:
    dataset = data.load(str(own_files / "plain.npy"), validation=5, stream=True)
    shutil.rmtree(own_files / "cache")
    for split in (dataset.train, dataset.validation):
        assert split is not None
        with pytest.raises(UserError, match="cannot be read now"):
            split.images[:1]
