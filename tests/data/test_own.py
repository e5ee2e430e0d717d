"""A user's own data by its path: cached, streamed, found again, and read anew when it changes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxae import data, files
from jaxae.data import Reading, own
from jaxae.errors import UserError


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes a folder of 20 pictures in two classes; the user's cache is beside it."""
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for index in range(20):
        folder = tmp_path / "pets" / ("cats", "dogs")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (index, 0, 255)).save(folder / f"{index}.png")
    return tmp_path / "pets"


def caches(pets: Path) -> list[Path]:
    return sorted((pets.parent / "cache/datasets").glob("[!.]*"))


def test_pictures_are_read_once_and_then_come_from_the_cache(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = data.load("pets")
    assert (first.name, first.own, first.class_names) == ("pets", True, ("cats", "dogs"))
    said = f"pets: {len(first.train.images)} training and {len(first.test.images)} test images of"
    assert f"{said} 4x6x3, in 2 classes" in capsys.readouterr().err
    monkeypatch.setattr(own, "read", lambda *_: pytest.fail("the pictures were read again"))
    for name in ("pets", "./pets/", str(pets), "pets/../pets"):
        again = data.load(name)
        assert again.fingerprint == first.fingerprint
        np.testing.assert_array_equal(again.train.images, first.train.images)
        np.testing.assert_array_equal(again.test.labels, first.test.labels)
    assert isinstance(again.train.images, np.memmap)
    assert capsys.readouterr().err.splitlines() == [f"jaxae: {said} 4x6x3, in 2 classes"] * 4


@pytest.mark.parametrize("change", ["another picture", "other pixels", "a picture less", "a time"])
def test_changed_pictures_are_read_again(pets: Path, change: str) -> None:
    before = data.load("pets")
    file = pets / "cats/0.png"
    if change == "another picture":
        shutil.copy(file, pets / "cats/new.png")
    elif change == "other pixels":
        Image.new("RGB", (6, 4), "white").save(file)
    elif change == "a picture less":
        file.unlink()
    else:
        os.utime(file, (0, 0))
    after = data.load("pets")
    assert (after.fingerprint == before.fingerprint) == (change == "a time")
    assert len(caches(pets)) == 1  # the new one replaces the old one


def test_each_way_of_reading_has_a_cache_of_its_own(pets: Path) -> None:
    small, gray = (
        data.load("pets", reading=reading)
        for reading in (Reading(size=(2, 3)), Reading(channels=1))
    )
    assert small.train.images.shape[1:] == (2, 3, 3)
    assert gray.train.images.shape[1:] == (4, 6, 1)
    assert len(caches(pets)) == 2


def test_streamed_examples_are_those_in_memory(pets: Path) -> None:
    np.save("vectors.npy", np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    for name in ("pets", "vectors.npy"):
        resident, streamed = data.load(name), data.load(name, stream=True)
        assert isinstance(streamed.train.images, data.Column)
        assert streamed.fingerprint == resident.fingerprint
        assert streamed.train.images.dtype == resident.train.images.dtype
        assert streamed.train.images.shape == resident.train.images.shape
        np.testing.assert_array_equal(streamed.train.images[3:9], resident.train.images[3:9])
        indices = np.array([5, 1, 0, 7])
        images, _ = streamed.train.images.split.read(indices)
        np.testing.assert_array_equal(images, resident.train.images[indices])
        if resident.train.labels is None:
            assert streamed.train.labels is None
        else:
            np.testing.assert_array_equal(streamed.train.labels, resident.train.labels)


def test_a_stream_whose_cache_vanishes_is_one_error(pets: Path) -> None:
    streamed = data.load("pets", stream=True)
    shutil.rmtree(caches(pets)[0])
    with pytest.raises(UserError, match="cannot be read now"):
        streamed.train.images[:2]


def test_a_stream_never_mixes_old_and_changed_data(pets: Path) -> None:
    streamed = data.load("pets", stream=True)
    for file in pets.rglob("*.png"):
        Image.new("RGB", (6, 4), "white").save(file)
    data.load("pets")  # as another process does, which caches the new pictures
    with pytest.raises(UserError, match="another process has replaced it"):
        streamed.train.images[:2]


def test_without_a_cache_the_examples_are_in_memory(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = data.load("pets")
    shutil.rmtree(pets.parent / "cache")
    (pets.parent / "cache").write_text("not a folder")
    again = data.load("pets", stream=True)
    assert "no cache in" in capsys.readouterr().err
    assert data.find_own("pets", cached.fingerprint) is None
    assert again.fingerprint == cached.fingerprint
    np.testing.assert_array_equal(again.train.images, cached.train.images)


def test_a_full_disk_leaves_nothing_and_the_examples_are_in_memory(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert len(data.load("pets").train.images) == 18
    assert "(No space left on device)" in capsys.readouterr().err
    assert caches(pets) == []


def test_a_disk_that_fills_up_without_the_skipped_pictures_is_one_line(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (pets / "cats/0.png").write_bytes((pets / "cats/0.png").read_bytes()[:50])
    reserved = []

    def reserve(*_: object) -> None:
        reserved.append(1)
        if len(reserved) > 2:  # the arrays of both splits, but not the ones without gaps
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", reserve, raising=False)
    dataset = data.load("pets", reading=Reading(skip_unreadable=True))
    assert len(dataset.train.images) + len(dataset.test.images) == 19
    assert "(No space left on device)" in capsys.readouterr().err
    assert caches(pets) == []


@pytest.mark.parametrize("damage", ["cut", "bit", "metadata", "scaling"])
def test_a_damaged_cache_is_read_again(pets: Path, damage: str) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    np.save("vectors.npy", values)
    first = data.load("vectors.npy")
    cache = caches(pets)[0]
    metadata = cache / "metadata.json"
    if damage == "cut":
        os.truncate(cache / "train_images.npy", 200)
    elif damage == "bit":
        content = bytearray((cache / "test_images.npy").read_bytes())
        content[-1] ^= 1
        (cache / "test_images.npy").write_bytes(content)
    elif damage == "metadata":
        metadata.write_text("[]")
    else:
        metadata.write_text(metadata.read_text().replace('"scale": [', '"scale": [9, '))
    again = data.load("vectors.npy")
    assert (again.fingerprint, again.scaling) == (first.fingerprint, first.scaling)


def test_skipped_pictures_leave_no_gaps(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = data.load("pets")
    Image.effect_noise((6, 4), 90).convert("RGB").save(pets / "cats/18.png")
    noise = (pets / "cats/18.png").read_bytes()
    (pets / "cats/18.png").write_bytes(noise[: len(noise) - 30])
    with pytest.raises(UserError, match=r"cats/18\.png"):
        data.load("pets")
    assert not list((pets.parent / "cache/datasets").glob(".*incomplete"))
    kept = data.load("pets", reading=Reading(skip_unreadable=True))
    values = [set(split.images[:, 0, 0, 0].tolist()) for split in (kept.train, kept.test)]
    assert values[0] | values[1] == set(range(20)) - {18}
    for split in (kept.train, kept.test):
        assert split.labels is not None
        np.testing.assert_array_equal(split.images[:, 0, 0, 0] % 2, split.labels)
    assert len(kept.train.images) + len(kept.test.images) == 19
    assert whole.fingerprint != kept.fingerprint


def test_data_is_found_by_its_name_and_fingerprint_while_it_is_there(pets: Path) -> None:
    dataset = data.load("./pets")
    assert data.find_own("pets", dataset.fingerprint) == str(pets)
    assert data.find_own("pets", "of its content before it changed") == str(pets)
    assert data.find_own("cats", dataset.fingerprint) is None
    shutil.copytree(pets, pets.parent / "copies/pets")
    Image.new("RGB", (6, 4)).save(pets.parent / "copies/pets/cats/0.png")
    other = data.load("copies/pets")
    assert data.find_own("pets", other.fingerprint) == str(pets.parent / "copies/pets")
    assert data.find_own("pets", "of neither") is None
    pets.rename(pets.parent / "moved")
    assert data.find_own("pets", dataset.fingerprint) == str(pets.parent / "copies/pets")


def test_a_name_of_tfds_is_not_a_folder(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets.rename(pets.parent / "mnist_mini")
    assert not data.load("mnist_mini").own
    assert "for the folder, give ./mnist_mini" in capsys.readouterr().err
    assert data.load("./mnist_mini").own


def test_a_hugging_face_folder_is_cached_and_named_like_others(pets: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict(
        {"image": [Image.new("L", (5, 4), n) for n in range(30)]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    Path("shared").mkdir()
    rows.to_parquet("shared/train.parquet")
    first = data.load("hf:shared")
    assert (first.name, first.own, first.class_names) == ("hf:shared", True, ())
    assert len(first.train.images) + len(first.test.images) == 30
    assert first.train.images.shape[1:] == (4, 5, 1)
    again = data.load(f"hf:{pets.parent / 'shared'}")
    assert again.fingerprint == first.fingerprint
    assert len(caches(pets)) == 1
    assert data.find_own("hf:shared", first.fingerprint) == f"hf:{pets.parent / 'shared'}"
    shutil.rmtree("shared")
    assert data.find_own("hf:shared", first.fingerprint) is None


BAD_PLACES = {
    "./nothing": "there is no such file or folder",
    "/nothing/at/all": "there is no such file or folder",
    "~nobody_of_this_name/pets": "cannot be read",
    "missing.npz": "there is no such file",
    "./" + "long" * 100: "cannot be read",
    "long" * 100: "there is no dataset",
    "pets/cats/0.png": "this kind of file cannot be read",
    "./pets\0": "cannot be read|no such file",
    "file.txt": "this kind of file cannot be read",
    "folder.npz": "no pictures|picture",
    "hf:a/b/c": "neither a folder nor a name",
    "hf:./nothing": "neither a folder nor a name",
}


@pytest.mark.parametrize("name", BAD_PLACES)
def test_a_bad_place_is_one_error_and_leaves_nothing(pets: Path, name: str) -> None:
    Path("file.txt").write_text("text")
    Path("folder.npz").mkdir()
    with pytest.raises(UserError, match=BAD_PLACES[name]) as raised:
        data.load(name)
    assert "\n" not in str(raised.value)
    assert caches(pets) == []


def test_options_of_own_data_are_refused_for_other_datasets() -> None:
    with pytest.raises(UserError, match="--size does not apply to mnist_mini"):
        data.load("mnist_mini", reading=Reading(size=(8,)))
