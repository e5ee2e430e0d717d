"""Prepared sets that are damaged or from a stranger: one error, and none of their code runs."""

import errno
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import data
from jaxae.data import cache, prepared
from jaxae.data.prepared import shards
from jaxae.errors import UserError
from jaxae.runs import RunOptions, disk
from support import handmade
from support.damage import damaged_contents
from support.handmade import NAME, SIDE, gray, png, shard

MARK = "mark_of_a_stranger"
EVIL = {"pythonClassName": "strangers_module.Feature"}
NESTED = {
    "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "featuresDict": {"features": {"inner": {"sequence": {"feature": EVIL}}}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Writes a set of six images with the values 0 to 5."""
    return handmade.write(tmp_path, [gray(value) for value in range(6)], [0, 1] * 3)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., data.Dataset]:
    return partial(data.load, NAME, data_dir=tmp_path)


def values(dataset: data.Dataset) -> list[int]:
    """Returns the first pixel of each training image."""
    return np.asarray(dataset.train.images)[:, 0, 0, 0].tolist()


def test_a_handmade_set_loads(folder: Path, load: Callable[..., data.Dataset]) -> None:
    for stream in (True, False):
        dataset = load(stream=stream)
        assert values(dataset) == list(range(6))
        assert np.asarray(dataset.train.labels).tolist() == [0, 1] * 3
        assert dataset.class_names == ("0", "1")


# Code of a stranger.


@pytest.mark.parametrize(
    "features",
    [
        {**handmade.features(), **EVIL},
        handmade.features(image={**handmade.IMAGE, **EVIL}),
        handmade.features(label={**handmade.LABEL, **EVIL}),
        handmade.features(other=EVIL),
        handmade.features(other=NESTED),
    ],
)
def test_a_class_of_a_stranger_is_refused_and_not_imported(
    folder: Path, load: Callable[..., data.Dataset], features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = folder.parent / "strangers_module.py"
    module.write_text(f"open({str(folder.parent / MARK)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(folder.parent))
    (folder / "features.json").write_text(json.dumps(features))
    for stream in (False, True):
        with pytest.raises(
            UserError, match=r"strangers_module.* would run its author's code"
        ) as told:
            load(stream=stream)
        assert str(folder / "features.json") in str(told.value)
    assert not (folder.parent / MARK).exists()
    assert "strangers_module" not in sys.modules


def test_features_that_are_not_read_do_no_harm(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    text = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}
    (folder / "features.json").write_text(json.dumps(handmade.features(id=text)))
    assert values(load()) == list(range(6))


def test_other_features_of_tfds_itself_are_left_alone(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    for kind in ("class_label_feature.ClassLabel", "audio_feature.Audio", "of_the_future.Feature"):
        name = f"tensorflow_datasets.core.features.{kind}"
        document = handmade.features(extra={"pythonClassName": name, "classLabel": {}})
        (folder / "features.json").write_text(json.dumps(document))
        assert values(load()) == list(range(6))


def test_files_that_make_pillow_start_programs_are_refused(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n%%EndComments\nshowpage\n"
    handmade.write_shard(shard(folder, "train"), [gray(0)] * 5 + [postscript], [0] * 6)
    with pytest.raises(UserError, match=r"record 5 of .*train.*cannot identify image file"):
        load()


# JSON.


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_every_damage_to_a_sets_json_is_one_error_or_none(
    folder: Path, load: Callable[..., data.Dataset], name: str
) -> None:
    document = handmade.info(6) if name == "dataset_info.json" else handmade.features()
    file = folder / name
    refused = 0
    for what, damaged in damaged_contents(json.dumps(document).encode()):
        file.write_bytes(damaged)
        try:
            assert values(load(stream=True)) == list(range(6)), what
        except UserError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message, what
            assert str(folder) in message, what
            assert len(message) < 1000, what
    assert refused > 40


@pytest.mark.slow
def test_every_damage_to_a_caches_json_is_fixed_with_a_message(
    folder: Path, load: Callable[..., data.Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    load()
    file = folder / cache.FOLDER / cache.METADATA
    for what, damaged in damaged_contents(file.read_bytes()):
        file.write_bytes(damaged)
        assert values(load()) == list(range(6)), what
        assert capsys.readouterr().err.count(f"decoding {NAME} again") == 1, what


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../elsewhere"}, r"\.\./elsewhere-train.*a file in the same folder"),
        ({"fileFormat": "tfrecord"}, "stored as tfrecord"),
        ({"splits": [{"name": name} for name in ("train", "test")]}, "the split train in .* empty"),
    ],
)
def test_contradictions_in_dataset_info_are_refused(
    folder: Path, load: Callable[..., data.Dataset], change: dict[str, Any], message: str
) -> None:
    (folder / "dataset_info.json").write_text(json.dumps({**handmade.info(6), **change}))
    with pytest.raises(UserError, match=message):
        load()


def test_a_shard_with_another_number_of_records_is_damaged(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    for count in (5, 7, 2**31 - 1):
        (folder / "dataset_info.json").write_text(json.dumps(handmade.info(count)))
        with pytest.raises(
            UserError, match=rf"train.* is damaged \(6 records instead of {count}\)"
        ):
            load()


@pytest.mark.parametrize("names", [b"cat\n", b"cat\ndog\ncow\n", b"\xff\xfe"])
def test_class_names_must_fit(
    folder: Path, load: Callable[..., data.Dataset], names: bytes
) -> None:
    (folder / "label.labels.txt").write_bytes(b"cat\n\n dog \n")
    assert load().class_names == ("cat", "dog")
    (folder / "label.labels.txt").write_bytes(names)
    with pytest.raises(UserError, match=r"label\.labels\.txt"):
        load()


# Records.


def bomb() -> bytes:
    """Returns a PNG of a hundred megapixels in a few kilobytes."""
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (gray(3)[:50], 0, "image file is truncated"),
        (b"", 0, "cannot identify image file"),
        (png(np.zeros((6, 5), np.uint8)), 0, "6 x 5 pixels, .*images of 5 x 5;.*several sizes"),
        (gray(3), 2, "its label is 2, of 2 classes"),
        (gray(3), -(2**62), "its label is -4611686018427387904"),
    ],
)
def test_a_record_that_cannot_be_loaded_is_named(
    folder: Path, load: Callable[..., data.Dataset], image: bytes, label: int, message: str
) -> None:
    images, labels = [gray(0)] * 3 + [image] + [gray(0)] * 2, [0] * 3 + [label] + [0] * 2
    handmade.write_shard(shard(folder, "train"), images, labels)
    named = rf"record 3 of .*{NAME}-train.*{message}.*prepare the set again"
    for stream in (False, True):
        with pytest.raises(UserError, match=named):
            load(stream=stream)
    streamed = prepared.open_stream(folder, NAME, 0)  # as without room for a cache
    with pytest.raises(UserError, match=named):
        np.asarray(streamed.train.images)
    assert values_of_first(streamed) == [0, 0]


def values_of_first(dataset: data.Dataset) -> list[int]:
    """Returns the first pixel of the first two training images."""
    return dataset.train.images[:2][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("stream", [True, False])
def test_a_record_that_cannot_be_read_now_is_not_called_damaged(
    stream: bool,
    folder: Path,
    load: Callable[..., data.Dataset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del folder  # requested so that the set exists

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(shards, "parse", fail)
    with pytest.raises(UserError, match=r"cannot be read now .*Too many open files.* try again"):
        load(stream=stream)


def test_a_shard_of_several_is_named(folder: Path, load: Callable[..., data.Dataset]) -> None:
    info = handmade.info(6)
    info["splits"][0]["shardLengths"] = ["4", "2"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    names = [f"{NAME}-train.array_record-0000{index}-of-00002" for index in range(2)]
    for name, images in zip(names, ([gray(0)] * 4, [gray(0), b"bad"]), strict=True):
        handmade.write_shard(folder / name, images, [0] * len(images))
    with pytest.raises(UserError, match=f"record 1 of .*{names[1]} cannot be loaded"):
        load()


def test_a_split_may_name_its_files_otherwise(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    info = handmade.info(6)
    info["splits"][0]["filepathTemplate"] = "{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}-{NUM_SHARDS}"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    shard(folder, "train").rename(folder / "train.array_record-00000-00001")
    assert values(load()) == list(range(6))


def test_a_damaged_record_is_named(folder: Path, load: Callable[..., data.Dataset]) -> None:
    file = shard(folder, "train")
    content = bytearray(file.read_bytes())
    content[content.index(gray(4)) + 20] ^= 1
    file.write_bytes(content)
    for stream in (False, True):
        with pytest.raises(UserError, match=r"record 4 of .*hash mismatch"):
            values(load(stream=stream))


@pytest.mark.slow
def test_pictures_that_unpack_to_far_more_are_refused(
    folder: Path, load: Callable[..., data.Dataset]
) -> None:
    handmade.write_shard(shard(folder, "train"), [gray(0)] * 5 + [bomb()], [0] * 6)
    with pytest.raises(UserError, match=r"record 5 of .*exceeds limit of \d+ pixels"):
        load()
    sides = {"dtype": "uint8", "shape": {"dimensions": ["-1", "-1", "1"]}}
    features = handmade.features(image={**handmade.IMAGE, "image": sides})
    (folder / "features.json").write_text(json.dumps(features))
    handmade.write_shard(shard(folder, "train"), [bomb()] + [gray(0)] * 5, [0] * 6)
    for stream in (False, True):
        with pytest.raises(UserError, match=r"record 0 of .*exceeds limit of \d+ pixels"):
            load(stream=stream)


@pytest.mark.slow
def test_a_process_that_decodes_passes_the_error_on(folder: Path) -> None:
    handmade.write_shard(shard(folder, "train"), [gray(0)] * 5 + [b"bad"], [0] * 6)
    column = prepared.open_stream(folder, NAME, 2).train.images
    assert isinstance(column, data.Column)
    with data.open_reader(column.split) as read:
        for _ in range(2):
            with pytest.raises(UserError, match="record 5 of") as told:
                read(np.array([1, 2, 5, 0]), 4)
            assert told.value.__cause__ is None
            assert read(np.arange(4), 4)[0][:, 0, 0, 0].tolist() == [0] * 4


def test_a_runs_folder_is_blamed_for_its_own_errors_alone(tmp_path: Path) -> None:
    run, shared = tmp_path / "run", RunOptions(1, 1, 1.0, out=tmp_path / "run")
    for error, message in [
        (OSError(28, "No space left on device"), f"{run} cannot be written"),
        (OSError(13, "Denied", str(run / "a.png")), f"{run / 'a.png'} cannot be written"),
        (OSError(5, "Input/output error", "/data/set"), r"/data/set cannot be read or written"),
    ]:
        with (
            pytest.raises(UserError, match=message),
            disk.clean_up_on_error(run, shared, str),
        ):
            raise error
    with (
        pytest.raises(OSError, match="image file is truncated"),
        disk.clean_up_on_error(run, shared, str),
    ):
        raise OSError("image file is truncated")


# Pictures that differ from what the features declare.


def picture(mode: str, color: Any, size: int = SIDE, **options: Any) -> bytes:
    """Returns a PNG of one color, or a JPEG if PNG does not have the mode."""
    file = io.BytesIO()
    image = Image.new(mode, (size, size), color)
    image.save(file, "jpeg" if mode == "CMYK" else "png", **options)
    return file.getvalue()


def palette() -> bytes:
    """Returns a PNG whose pixels all have the second color of its palette."""
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("encoded", "channels", "expected"),
    [
        (png(np.full((SIDE, SIDE), 257 * 7, np.uint16)), 1, [7]),
        (png(np.full((SIDE, SIDE), 65535, np.uint16)), 3, [255, 255, 255]),
        (picture("1", 1), 1, [255]),
        (picture("L", 7), 3, [7, 7, 7]),
        (picture("L", 7), 4, [7, 7, 7, 255]),
        (picture("RGB", (9, 9, 9)), 1, [9]),
        (palette(), 3, [200, 100, 50]),
        (picture("RGBA", (1, 2, 3, 255)), 3, [1, 2, 3]),
        (picture("RGBA", (1, 2, 3, 4)), 4, [1, 2, 3, 4]),
        (picture("CMYK", (0, 0, 0, 0)), 3, [255, 255, 255]),
    ],
)
def test_pictures_are_converted_to_the_declared_channels(
    encoded: bytes, channels: int, expected: list[int]
) -> None:
    pixels = shards.decode_image(encoded, (SIDE, SIDE, channels))
    assert pixels.shape == (SIDE, SIDE, channels)
    assert pixels.dtype == np.uint8
    assert pixels[2, 3].tolist() == expected


@pytest.mark.parametrize(
    "encoded",
    [picture("RGBA", (1, 2, 3, 254)), picture("LA", (1, 2)), picture("L", 0, transparency=0)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_is_not_dropped(encoded: bytes, channels: int) -> None:
    with pytest.raises(ValueError, match=f"transparent pixels, which {channels} channels cannot"):
        shards.decode_image(encoded, (SIDE, SIDE, channels))


# Files that are not the set's.


def test_stray_files_change_no_identity(
    folder: Path, load: Callable[..., data.Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    load()
    before = load(stream=True).fingerprint, cache.identity(folder)
    for stray in (".DS_Store", "features.json~", "._label.labels.txt", "Thumbs.db", f"{NAME}.png"):
        (folder / stray).write_text("stray")
    assert (load(stream=True).fingerprint, cache.identity(folder)) == before
    load()
    assert capsys.readouterr().err == ""
    info = {**handmade.info(6), "description": "another"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    assert load(stream=True).fingerprint != before[0]
    assert cache.identity(folder) != before[1]
