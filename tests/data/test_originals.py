"""Sets that are prepared from original archives, which these tests write in their formats."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import data
from jaxae.data import connection
from jaxae.data.prepared import formats, preparation
from jaxae.data.prepared.originals import ORIGINALS
from jaxae.data.reading import Reading
from jaxae.errors import UserError
from support import originals, tiny
from support.builders import prepare, read_with_tfds
from support.originals import SETS, Small
from support.tiny import left_over


@pytest.fixture(autouse=True)
def no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets no folders, and no network."""
    monkeypatch.delenv("JAXAE_SOURCES", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(connection, "why_unreachable", lambda url, size: "no network in this test")


def pairs(images: Any, labels: Any) -> list[tuple[bytes, int]]:
    """Returns images with their labels in an order that does not depend on the dataset's."""
    images = np.asarray(images)
    labels = np.zeros(len(images), int) if labels is None else np.asarray(labels)
    both = zip(images, labels, strict=True)
    return sorted((image.tobytes(), int(label)) for image, label in both)


def assert_holds(dataset: data.Dataset, small: Small, label: str = "label") -> None:
    for split in ("train", "test"):
        expected, found = small.splits[split], getattr(dataset, split)
        assert found.images.shape[:3] == expected["image"].shape[:3]
        assert found.images.dtype == np.uint8
        assert pairs(found.images, found.labels) == pairs(expected["image"], expected.get(label))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_a_set_is_prepared_from_its_archives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    small = SETS[name]()
    originals.install(monkeypatch, name, small, small.files, tmp_path / "sources")
    dataset = data.load(name, data_dir=tmp_path / "data", sources=tmp_path / "sources")
    assert dataset.name == name
    assert_holds(dataset, small)
    again, streamed = (data.load(name, data_dir=tmp_path / "data", stream=s) for s in (False, True))
    assert again.fingerprint == dataset.fingerprint
    assert isinstance(streamed.train.images, data.Column)
    np.testing.assert_array_equal(np.asarray(streamed.train.images), dataset.train.images)
    if name != "binarized_mnist":
        np.testing.assert_array_equal(np.asarray(streamed.train.labels), dataset.train.labels)
    # TFDS reads what was prepared, and it is what TFDS would have prepared.
    decoders = {"image": tfds.decode.SkipDecoding()}  # decoding warns of a missing OpenCV
    builder: Any = tfds.builder(name, data_dir=tmp_path / "data")
    splits: Any = builder.as_data_source(decoders=decoders)
    assert {split: len(splits[split]) for split in splits} == {
        split: len(part["image"]) for split, part in small.splits.items()
    }
    assert str(builder.version) == str(tfds.builder_cls(name.split("/")[0]).VERSION)
    assert not list((tmp_path / "data").rglob("*.incomplete"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_examples_are_those_that_tfds_reads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SETS[name]()
    files = dict(small.files)
    if name == "svhn_cropped":  # TFDS needs this split too
        files["extra_32x32.mat"] = files["test_32x32.mat"]
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    expected = read_with_tfds(name, tmp_path, originals.COUNTS, monkeypatch)
    expected.pop("extra", None)
    contents = small.original.read({file: tmp_path / file for file in small.files})
    assert set(contents.splits) == set(expected)
    for split, features in contents.splits.items():
        found = dict(preparation._examples(features))
        assert found.keys() == expected[split].keys()
        for key, example in found.items():
            assert example.keys() == expected[split][key].keys()
            for feature, value in example.items():
                other = expected[split][key][feature]
                if feature == "image":
                    value, other = np.asarray(Image.open(value)), other.squeeze()
                np.testing.assert_array_equal(value, other)


def stored(data_dir: Path, name: str) -> list[dict[str, Any]]:
    """Returns the training examples as TFDS reads them, with the pixels of the image."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder(name, data_dir=data_dir)
    source = builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    return [
        {**example, "image": np.asarray(Image.open(io.BytesIO(example["image"])))}
        for example in source
    ]


def load(
    name: str, small: Small, folder: Path, patch: pytest.MonkeyPatch, **options: Any
) -> data.Dataset:
    """Prepares a small set in a folder, and loads it."""
    originals.install(patch, name, small, small.files, folder / "sources")
    return data.load(name, data_dir=folder / "data", sources=folder / "sources", **options)


def test_emnist_is_stored_as_in_tfds_and_loads_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = originals.emnist("letters", 26, more=5)
    dataset = load("emnist/letters", small, tmp_path, monkeypatch)
    found = [example["image"] for example in stored(tmp_path / "data", "emnist/letters")]
    assert pairs(found, None) == pairs(small.splits["train"]["image"].transpose(0, 2, 1), None)
    assert pairs(dataset.train.images, None) == pairs(small.splits["train"]["image"], None)
    assert len(dataset.class_names) == 37  # as TFDS declares


def test_emnist_that_tfds_has_prepared_loads_upright(tmp_path: Path) -> None:
    image = np.arange(784, dtype=np.uint16).reshape(28, 28).astype(np.uint8)

    def example() -> dict[str, Any]:
        file = io.BytesIO()
        Image.fromarray(image.T.copy()).save(file, "png")
        return {"image": io.BytesIO(file.getvalue()), "label": 3}

    splits = {split: [example() for _ in range(2)] for split in ("train", "test")}
    prepare(tmp_path, "emnist/digits", splits)
    for stream in (False, True):
        dataset = data.load("emnist/digits", data_dir=tmp_path, stream=stream)
        np.testing.assert_array_equal(np.asarray(dataset.train.images)[0, ..., 0], image)
        np.testing.assert_array_equal(dataset.test.images[1, ..., 0], image)


def test_cifar_has_tfds_ids_and_the_names_in_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = originals.cifar10()
    dataset = load("cifar10", small, tmp_path, monkeypatch)
    assert dataset.class_names == tuple(f"class {number}" for number in range(10))
    for example in stored(tmp_path / "data", "cifar10"):
        index = int(example["id"].decode().removeprefix("train_"))
        assert example["id"] == b"train_%05d" % index
        np.testing.assert_array_equal(example["image"], small.splits["train"]["image"][index])
        assert example["label"] == small.splits["train"]["label"][index]


def test_cifar100_has_fine_and_coarse_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = originals.cifar100()
    fine = load("cifar100", small, tmp_path, monkeypatch)
    assert_holds(fine, small)
    assert fine.class_names[99] == "fine 99"
    again = partial(data.load, "cifar100", data_dir=tmp_path / "data")
    coarsely = partial(again, reading=Reading(label="coarse_label"))
    for dataset in (coarsely(), coarsely(), coarsely(stream=True)):  # decoded, cached, streamed
        assert_holds(dataset, small, "coarse_label")
        assert dataset.class_names == tuple(f"coarse {number}" for number in range(20))
        assert_holds(again(), small)
    assert coarsely().fingerprint != again().fingerprint == fine.fingerprint
    assert coarsely(stream=True).fingerprint != again(stream=True).fingerprint


def test_svhn_has_tfds_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = originals.svhn_cropped()
    load("svhn_cropped", small, tmp_path, monkeypatch)
    for example in stored(tmp_path / "data", "svhn_cropped"):
        index = int(example["id"].decode().removeprefix("train_"))
        assert example["id"] == b"train_%06d" % index
        np.testing.assert_array_equal(example["image"], small.splits["train"]["image"][index])


def test_binarized_mnist_is_stored_as_in_tfds_and_has_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = originals.binarized_mnist()
    dataset = load("binarized_mnist", small, tmp_path, monkeypatch)
    assert dataset.train.labels is dataset.test.labels is None
    assert dataset.class_names == ()
    assert np.unique(dataset.train.images).tolist() == [0, 255]
    found = np.array([example["image"] for example in stored(tmp_path / "data", "binarized_mnist")])
    assert np.unique(found).tolist() == [0, 1]


# The table of all sets.


@pytest.mark.parametrize("name", ORIGINALS)
def test_tfds_registers_the_archives(name: str) -> None:
    registered = preparation.registered(name)
    assert tuple(registered) == ORIGINALS[name].files
    for file, archive in registered.items():
        assert archive.url.endswith(file)
        assert archive.size > 1000
        assert len(archive.sha256) == 64


def test_emnist_takes_the_numbers_of_images_that_tfds_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow_datasets as tfds

    taken: list[tuple[str, int]] = []

    def read(path: Path, member: str, shape: tuple[int, ...]) -> None:
        taken.append((member, shape[0]))

    monkeypatch.setattr(formats, "read_zipped_idx", read)
    emnist: Any = tfds.builder_cls("emnist")
    assert {f"emnist/{config.name}" for config in emnist.BUILDER_CONFIGS} == {
        name for name in ORIGINALS if name.startswith("emnist/")
    }
    for config in emnist.BUILDER_CONFIGS:
        taken.clear()
        ORIGINALS[f"emnist/{config.name}"].read({"gzip.zip": Path()})
        for split, count in {"train": config.train_examples, "test": config.test_examples}.items():
            for what in ("images-idx3", "labels-idx1"):
                member = f"gzip/emnist-{config.name}-{split}-{what}-ubyte.gz"
                assert (member, count) in taken


@pytest.mark.parametrize(
    ("name", "file", "size"),
    [
        ("binarized_mnist", "binarized_mnist_train.amat", 50_000 * 784 * 2),
        ("binarized_mnist", "binarized_mnist_valid.amat", 10_000 * 784 * 2),
        ("binarized_mnist", "binarized_mnist_test.amat", 10_000 * 784 * 2),
    ],
)
def test_the_registered_size_is_that_of_the_format(name: str, file: str, size: int) -> None:
    assert preparation.registered(name)[file].size == size


# Names and folders.


@pytest.mark.parametrize("name", [name for name in ORIGINALS if "mnist" not in name])
def test_without_archives_the_error_names_them(name: str, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    with pytest.raises(UserError, match="no network in this test") as caught:
        data.load(name, data_dir=tmp_path / "data", sources=tmp_path / "sources")
    message = str(caught.value)
    for file in ORIGINALS[name].files:
        assert file in message
    assert f"in DIR/{name} and give --sources DIR" in message
    assert "_mini" not in message
    assert "\n" not in message
    assert left_over(tmp_path / "data") == []


def test_a_folder_that_lacks_an_archive_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = originals.svhn_cropped()
    files = {"train_32x32.mat": small.files["train_32x32.mat"]}
    originals.install(monkeypatch, "svhn_cropped", small, files, tmp_path)
    with pytest.raises(UserError, match=r"lacks test_32x32.mat: it must hold the 2 archives"):
        data.load("svhn_cropped", data_dir=tmp_path / "data", sources=tmp_path)


@pytest.mark.parametrize("name", ["emnist", "emnist/digit", "emnist:3.1.0"])
def test_a_configuration_of_emnist_must_be_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give one of emnist/balanced, emnist/byclass, .*letters"):
        data.load(name, data_dir=tmp_path)


def test_a_version_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = originals.kmnist()
    originals.install(monkeypatch, "kmnist", small, small.files, tmp_path / "sources")
    folders: dict[str, Any] = {"data_dir": tmp_path / "data", "sources": tmp_path / "sources"}
    with pytest.raises(UserError, match=r"kmnist:1.2.3 is not prepared .* version 3.0.1: give kmn"):
        data.load("kmnist:1.2.3", **folders)
    dataset = data.load("kmnist:3.0.1", **folders)
    assert dataset.name == "kmnist:3.0.1"
    assert_holds(dataset, small)
    assert (tmp_path / "data/kmnist/3.0.1").is_dir()
    (tmp_path / "data/kmnist/3.0.1").rename(tmp_path / "data/kmnist/1.2.3")
    assert_holds(data.load("kmnist:1.2.3", data_dir=tmp_path / "data"), small)
    with pytest.raises(UserError, match="kmnist:newest is not prepared in"):
        data.load("kmnist:newest", **folders)


def test_a_version_of_mnist_is_verified_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiny.verified.ARRAYS, "mnist", tiny.original(tiny.ARRAYS))
    tiny.write(tmp_path / "sources/mnist", tiny.ARRAYS)
    for stream in (False, True):
        dataset = data.load(
            "mnist:3.0.1", data_dir=tmp_path / "data", sources=tmp_path / "sources", stream=stream
        )
        expected = tiny.ARRAYS[tiny.verified.TRAIN_IMAGES]
        np.testing.assert_array_equal(np.asarray(dataset.train.images)[..., 0], expected)
