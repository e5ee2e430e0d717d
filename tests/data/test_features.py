"""Prepared sets of any kind: their image, their labels, and their splits."""

import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import data
from jaxae.data.reading import Reading
from jaxae.errors import UserError
from support import handmade
from support.builders import prepare
from support.handmade import IMAGE, LABEL, NAME, gray, shard

_TFDS = "tensorflow_datasets.core.features."


def encoded(pixels: np.ndarray, kind: str = "png") -> io.BytesIO:
    """Returns a file with an image."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return io.BytesIO(file.getvalue())


# Sets of TFDS, in the very form that its builders give them.


def faces(count: int) -> Iterator[dict[str, Any]]:
    """Yields examples of CelebA; the shade of an image is its index times ten."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_cls("celeb_a")()
    features = builder.info.features
    for index in range(count):
        yield {
            "image": encoded(np.full((218, 178, 3), index * 10, np.uint8), "jpeg"),
            "attributes": {name: bool(index % 2) for name in features["attributes"]},
            "landmarks": {name: index for name in features["landmarks"]},
            "identity": {"Identity_No": 1000 - index % 3},
        }


@pytest.fixture
def celeb_a(tmp_path: Path) -> Path:
    """Prepares a small CelebA; returns the data folder."""
    sizes = {"train": 6, "validation": 2, "test": 3}
    prepare(tmp_path, "celeb_a", {split: faces(n) for split, n in sizes.items()})
    return tmp_path


@pytest.mark.parametrize("stream", [False, True])
def test_celeb_a_loads_without_labels(celeb_a: Path, stream: bool) -> None:
    dataset = data.load("celeb_a", data_dir=celeb_a, stream=stream)
    assert dataset.train.images.shape == (6, 218, 178, 3)
    assert dataset.test.images.shape == (3, 218, 178, 3)
    assert dataset.train.labels is dataset.test.labels is None
    assert dataset.class_names == ()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("label", "class_names", "class_of"),
    [
        ("attributes/Smiling", ("False", "True"), lambda index: index % 2),
        ("identity/Identity_No", ("998", "999", "1000"), lambda index: 2 - index % 3),
    ],
)
def test_an_inner_feature_of_celeb_a_can_be_its_label(
    celeb_a: Path, stream: bool, label: str, class_names: tuple[str, ...], class_of: Callable
) -> None:
    for _ in range(2):  # decoded, then cached
        dataset = data.load(
            "celeb_a", data_dir=celeb_a, stream=stream, reading=Reading(label=label)
        )
        assert dataset.class_names == class_names
        for split in (dataset.train, dataset.test):
            index = np.rint(np.asarray(split.images)[:, 0, 0, 0] / 10).astype(int)
            np.testing.assert_array_equal(np.asarray(split.labels), class_of(index))


def sprites(count: int) -> Iterator[dict[str, Any]]:
    """Yields examples of dSprites, whose pixels are 0 and 1; the first pixels tell the index."""
    names = ("shape", "scale", "orientation", "x_position", "y_position")
    for index in range(count):
        pixels = np.zeros((64, 64), np.uint8)
        pixels[0, :8] = [index >> bit & 1 for bit in range(8)]
        pixels[1] = 1
        yield {
            "image": encoded(pixels),
            **{f"label_{name}": index % 3 for name in names},
            **{f"value_{name}": float(index) for name in names},
        }


@pytest.fixture
def dsprites(tmp_path: Path) -> Path:
    """Prepares a small dSprites; returns the data folder."""
    prepare(tmp_path, "dsprites", {"train": sprites(60)})
    return tmp_path


def indices(split: data.Split) -> np.ndarray:
    """Returns the indices of sprites, from their first pixels."""
    bits = np.asarray(split.images)[:, 0, :8, 0] // 255
    return bits @ (1 << np.arange(8))


def test_dsprites_is_split_and_its_pixels_become_black_and_white(dsprites: Path) -> None:
    load = partial(data.load, "dsprites", data_dir=dsprites, reading=Reading(label="label_shape"))
    dataset, streamed = load(), load(stream=True)
    assert np.unique(dataset.train.images).tolist() == [0, 255]
    assert np.unique(dataset.test.images).tolist() == [0, 255]
    assert 1 <= len(dataset.test.images) <= 15
    both = [*indices(dataset.train), *indices(dataset.test)]
    assert sorted(both) == list(range(60))
    for split in (dataset.train, dataset.test):
        np.testing.assert_array_equal(split.labels, indices(split) % 3)
    assert len(streamed.train.images) == len(dataset.train.images)
    for one, other in [(streamed.train, dataset.train), (streamed.test, dataset.test)]:
        np.testing.assert_array_equal(np.asarray(one.images), other.images)
        np.testing.assert_array_equal(np.asarray(one.labels), other.labels)
    np.testing.assert_array_equal(streamed.train.images[[5, 2]], dataset.train.images[[5, 2]])


def test_of_several_labels_one_must_be_chosen(dsprites: Path) -> None:
    with pytest.raises(UserError, match=r"several labels, label_orientation, .* with --label"):
        data.load("dsprites", data_dir=dsprites)
    with pytest.raises(UserError, match=r"--label 'value_shape': .*no such label; give one of"):
        data.load("dsprites", data_dir=dsprites, reading=Reading(label="value_shape"))
    assert not list(dsprites.rglob("*jaxae_arrays*"))


# Sets of other features, written file by file.


def tensor(dtype: str, *sides: str) -> dict[str, Any]:
    """Returns the JSON of a tensor feature."""
    shape = {"dimensions": list(sides)} if sides else {}
    return {
        "pythonClassName": _TFDS + "tensor_feature.Tensor",
        "tensor": {"shape": shape, "dtype": dtype, "encoding": "none"},
    }


def describe(folder: Path, **features: Any) -> None:
    """Replaces the features of a handmade set."""
    document = handmade.features()
    document["featuresDict"]["features"] = features
    (folder / "features.json").write_text(json.dumps(document))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Writes a set of six images with the values 0, 2, 4, ... and labels 7, -3, 7, -3, ..."""
    return handmade.write(tmp_path, [gray(2 * value) for value in range(6)], [7, -3] * 3)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., data.Dataset]:
    return partial(data.load, NAME, data_dir=tmp_path)


@pytest.mark.parametrize("stream", [False, True])
def test_whole_numbers_become_classes(
    folder: Path, load: Callable[..., data.Dataset], stream: bool
) -> None:
    describe(folder, image=IMAGE, label=tensor("int64"))
    dataset = load(stream=stream)
    assert dataset.class_names == ("-3", "7")
    for split in (dataset.train, dataset.test):
        assert np.asarray(split.labels).tolist() == [1, 0] * 3


def test_the_image_may_have_any_name(folder: Path, load: Callable[..., data.Dataset]) -> None:
    describe(folder, picture=IMAGE)
    for split in ("train", "test"):
        handmade.write_shard(shard(folder, split), [gray(9)] * 6, [0] * 6, image_name="picture")
    assert load().train.images[:, 0, 0, 0].tolist() == [9] * 6
    assert load().train.labels is None


def test_an_image_beside_the_one_called_image_is_left_alone(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    describe(folder, image=IMAGE, mask=IMAGE)
    assert load().train.images[:, 0, 0, 0].tolist() == list(range(0, 12, 2))


@pytest.mark.parametrize(
    ("features", "class_names"),
    [
        ({"image": IMAGE}, ()),
        ({"image": IMAGE, "label": tensor("float32")}, ()),
        ({"image": IMAGE, "label": tensor("int64", "2")}, ()),
        ({"image": IMAGE, "number": tensor("int64")}, ()),
        ({"image": IMAGE, "big": tensor("int64", "99999999")}, ()),
        ({"image": IMAGE, "inner": {**handmade.features(), "pythonClassName": "?"}}, None),
    ],
)
def test_without_a_class_label_there_are_no_labels(
    folder: Path,
    load: Callable[..., data.Dataset],
    features: Any,
    class_names: tuple[str, ...] | None,
) -> None:
    describe(folder, **features)
    if class_names is None:
        with pytest.raises(UserError, match="not a class of TFDS itself"):
            load()
        return
    assert load().class_names == class_names
    assert load().test.labels is None


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ({"label": LABEL}, {}, "must have one image, but it has label; give another"),
        ({"left": IMAGE, "right": IMAGE}, {}, "but it has 2 of them: left, right; give another"),
        (
            {"image": {**IMAGE, "image": {**IMAGE["image"], "dtype": "uint16"}}},
            {},
            "the image in .*features.json has pixels of type 'uint16'",
        ),
        ({"image": IMAGE}, {"label": "label"}, "--label 'label': .* no such label; leave it out"),
        ({"image": IMAGE, "a": LABEL}, {"label": "../a"}, r"--label '\.\./a': .*give one of a"),
        ({"image": IMAGE, "../../a": LABEL}, {"label": "../../a"}, "no such label; leave it out"),
        ({"a\nb": LABEL}, {}, r"it has 'a\\nb'; give another"),
        ({"image": IMAGE, "label": LABEL}, {"label": "image"}, "no such label; give one of label"),
        (
            {"image": IMAGE, "b": LABEL, "a": LABEL},
            {},
            "several labels, a, b: choose one",
        ),
        ({"image": IMAGE, "label": LABEL}, {}, "record 0 of .*its label is 7, of 2 classes"),
        ({"image": IMAGE, "other": tensor("int32")}, {"label": "other"}, "1 images and 0 labels"),
        ({"inner": handmade.features()}, {}, "it has inner/image, inner/label; give another"),
    ],
)
def test_features_that_do_not_do_are_refused(
    folder: Path,
    load: Callable[..., data.Dataset],
    features: Any,
    options: dict[str, Any],
    message: str,
) -> None:
    describe(folder, **features)
    for stream in (False, True):
        with pytest.raises(UserError, match=message) as caught:
            load(stream=stream, reading=Reading(**options))
        assert "\n" not in str(caught.value)
    assert not list(folder.glob("*jaxae_arrays*"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_gray_pixel_among_zeros_and_ones_is_named(
    tmp_path: Path, load: Callable[..., data.Dataset], stream: bool
) -> None:
    folder = handmade.write(tmp_path, [gray(0), gray(1)])
    handmade.write_shard(shard(folder, "train"), [gray(1), gray(2)], [0, 0])
    with pytest.raises(UserError, match=r"record 1 of .* has a pixel of 2, but the test images"):
        np.asarray(load(stream=stream).train.images)


def test_other_splits_are_left_out(folder: Path, load: Callable[..., data.Dataset]) -> None:
    describe(folder, image=IMAGE)
    info = handmade.info(6)
    info["splits"].append({"name": "validation", "shardLengths": ["6"]})
    (folder / "dataset_info.json").write_text(json.dumps(info))  # its file need not exist
    assert len(load().train.images) == len(load().test.images) == 6


def test_an_example_is_held_out_by_its_position(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    describe(folder, image=IMAGE)
    info = handmade.info(200)
    del info["splits"][1]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    values = [gray(value) for value in range(200)]
    handmade.write_shard(shard(folder, "train"), values, [0] * 200)
    first = load()
    assert 10 <= len(first.test.images) <= 35
    # The same positions are held out when others follow.
    info["splits"][0]["shardLengths"] = ["220"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    handmade.write_shard(shard(folder, "train"), values + [gray(255)] * 20, [0] * 220)
    for stream in (False, True):
        second = load(stream=stream)
        shades = second.test.images[:, 0, 0, 0]
        assert shades[shades < 255].tolist() == first.test.images[:, 0, 0, 0].tolist()
        assert len(second.train.images) + len(second.test.images) == 220
