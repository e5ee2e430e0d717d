"""Reading Hugging Face datasets that the tests write, without a network."""

import builtins
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae.data import connection, own
from jaxae.data.readers import hub, huggingface
from jaxae.data.reading import Reading
from jaxae.data.splits import hold_out
from jaxae.errors import UserError
from support.hub_sets import CLASSES, cells, encode, make, parquet, rows, save
from support.reading import read

pytestmark = pytest.mark.slow  # importing datasets takes a second

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (24, 6, 8, 3), np.uint8)
GRAY = COLOR[..., 0]
LABELS = (np.arange(24) % 3).tolist()
HELD = hold_out([str(index) for index in range(24)])


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps what `datasets` converts in a folder of the test, and the Hub out of reach."""
    monkeypatch.setattr("datasets.config.HF_CACHE_HOME", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache/datasets")
    monkeypatch.setattr(connection, "why_unreachable", lambda url, size: f"no answer from {url}")


def error_of(source: str, reading: Reading = Reading()) -> str:
    with pytest.raises(UserError) as caught:
        read(huggingface.open_dataset(source, reading))
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# What is read.


@pytest.mark.parametrize("images", [COLOR, GRAY], ids=["color", "gray"])
@pytest.mark.parametrize("labels", [LABELS, None], ids=["labels", "no labels"])
@pytest.mark.parametrize("saved", [False, True])
def test_train_and_test(
    tmp_path: Path, images: np.ndarray, labels: list[int] | None, saved: bool
) -> None:
    train, test = (
        rows(images[:16], labels and labels[:16]),
        rows(images[16:], labels and LABELS[16:]),
    )
    source = parquet(tmp_path / "my set", train=train, test=test, validation=train)
    if saved:
        source = save(tmp_path / "saved/my set", train=train, test=test)
    opened = huggingface.open_dataset(source, Reading())
    expected = images.reshape(24, 6, 8, -1)
    assert own.name_of(source) == "hf:my set"
    assert opened.shape == expected.shape[1:]
    found = read(opened)
    np.testing.assert_array_equal(found["train"], expected[:16])
    np.testing.assert_array_equal(found["test"], expected[16:])
    if labels is None:
        assert (opened.labels, opened.class_names) == (None, ())
    else:
        assert opened.class_names == CLASSES
        assert opened.labels
        assert opened.labels["train"].dtype == np.int32
        assert opened.labels["train"].tolist() == LABELS[:16]
        assert opened.labels["test"].tolist() == LABELS[16:]


@pytest.mark.parametrize("splits", [["train"], ["validation"], ["train", "validation"]])
def test_without_a_test_split_a_part_is_held_out(tmp_path: Path, splits: list[str]) -> None:
    source = parquet(tmp_path / "set", **dict.fromkeys(splits, rows(COLOR, LABELS)))
    opened = huggingface.open_dataset(source, Reading())
    found = read(opened)
    assert opened.labels
    for split, chosen in (("train", ~HELD), ("test", HELD)):
        np.testing.assert_array_equal(found[split], COLOR[chosen])
        np.testing.assert_array_equal(opened.labels[split], np.array(LABELS)[chosen])


def test_one_saved_split(tmp_path: Path) -> None:
    rows(COLOR).save_to_disk(tmp_path / "saved")
    found = read(huggingface.open_dataset(f"hf:{tmp_path}/saved", Reading()))
    np.testing.assert_array_equal(found["test"], COLOR[HELD])


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (["b", "a", "c"], "string", ("a", "b", "c")),
        ([9, 10, -1], "int16", ("-1", "9", "10")),
        ([True, False, True], "bool", ("False", "True")),
    ],
)
def test_labels_of_another_column(
    tmp_path: Path, labels: list[Any], kind: str, names: tuple[str, ...]
) -> None:
    source = parquet(tmp_path / "set", train=rows(COLOR, labels * 8, kind))
    assert huggingface.open_dataset(source, Reading()).labels is None  # it may be anything
    opened = huggingface.open_dataset(source, Reading(label="label"))
    assert opened.class_names == names
    assert opened.labels
    expected = np.array([names.index(str(label)) for label in labels * 8])
    np.testing.assert_array_equal(opened.labels["train"], expected[~HELD])


def test_pictures_are_treated_like_those_of_a_folder(tmp_path: Path) -> None:
    images = [*COLOR[:20], *COLOR[20:].repeat(2, axis=2)]
    source = parquet(tmp_path / "set", train=rows(images))
    assert "2 sizes" in error_of(source)
    assert "other proportions" in error_of(source, Reading(size=(6, 8)))
    opened = huggingface.open_dataset(source, Reading(size=(3,), fit="stretch", channels=1))
    assert opened.shape == (3, 3, 1)
    found = read(opened)
    picture = Image.fromarray(COLOR[np.flatnonzero(~HELD)[0]]).convert("L")
    expected = np.asarray(picture.resize((3, 3), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found["train"][0, ..., 0], expected)


def test_bytes_without_the_type_image(tmp_path: Path) -> None:
    source = parquet(tmp_path / "set", train=make(image=(cells(COLOR), "bytes")))
    found = read(huggingface.open_dataset(source, Reading()))
    np.testing.assert_array_equal(found["train"], COLOR[~HELD])


def test_a_folder_of_files_is_read_by_their_paths(tmp_path: Path) -> None:
    for index, pixels in enumerate(COLOR):
        path = tmp_path / f"set/train/{'abc'[index % 3]}/{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels))
    opened = huggingface.open_dataset(f"hf:{tmp_path}/set", Reading())
    assert opened.class_names == ("a", "b", "c")
    assert sum(map(len, read(opened).values())) == 24


def test_unreadable_pictures_may_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values: list[dict[str, Any] | None] = [*cells(COLOR)]
    values[3], values[5], values[7] = None, {"bytes": b"", "path": None}, {"bytes": b"?" * 99}
    outside = tmp_path / "outside.png"
    outside.write_bytes(encode(COLOR[0]))
    values[9] = {"bytes": None, "path": str(outside)}
    source = parquet(tmp_path / "set", train=make(image=([*values], "bytes")))
    message = error_of(source)
    for reason in ("train/3 (it is missing)", "train/5 (it is empty)", "train/7 (not a picture)"):
        assert reason in message
    assert "train/9 (its path leads out of the dataset)" in message
    opened = huggingface.open_dataset(source, Reading(skip_unreadable=True))
    pieces = [piece for piece in opened.read() if piece.split == "train"]
    kept = [n for n, index in enumerate(np.flatnonzero(~HELD)) if index not in (3, 5, 7, 9)]
    assert np.concatenate([piece.positions for piece in pieces]).tolist() == kept
    assert "left out" in capsys.readouterr().err


def test_a_dataset_in_the_cache_is_found_by_its_name(tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = tmp_path / "pets"
    parquet(folder, train=rows(COLOR))
    load_dataset(str(folder))
    shutil.rmtree(folder)
    opened = huggingface.open_dataset("hf:pets", Reading())
    assert own.name_of("hf:pets") == "hf:pets"
    np.testing.assert_array_equal(read(opened)["train"], COLOR[~HELD])
    assert hub.identify("hf:pets") == hub.identify("hf:pets") != hub.identify("hf:pets:default")


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    source = parquet(tmp_path / "set", train=rows(COLOR))
    before = hub.identify(source)
    assert before == hub.identify(source)
    read(huggingface.open_dataset(source, Reading()))
    parquet(tmp_path / "set", train=rows(255 - COLOR))
    assert hub.identify(source) != before
    found = read(huggingface.open_dataset(source, Reading()))
    np.testing.assert_array_equal(found["train"], 255 - COLOR[~HELD])


def test_configurations(tmp_path: Path) -> None:
    for name, images in (("light", COLOR), ("dark", COLOR // 2)):
        parquet(tmp_path / f"set/{name}", train=rows(images))
    configs = "".join(
        f"- config_name: {name}\n  data_files: {name}/data/*.parquet\n"
        for name in ("light", "dark")
    )
    (tmp_path / "set/README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    found = read(huggingface.open_dataset(f"hf:{tmp_path}/set:dark", Reading()))
    np.testing.assert_array_equal(found["train"], COLOR[~HELD] // 2)
    assert "light" in error_of(f"hf:{tmp_path}/set")
    assert "'other'" in error_of(f"hf:{tmp_path}/set:other")


@pytest.mark.parametrize(
    ("source", "name", "chosen"),
    [
        ("hf:mnist", "mnist", None),
        ("hf:ylecun/mnist", "ylecun/mnist", None),
        ("hf:ylecun/mnist:full_size", "ylecun/mnist", "full_size"),
    ],
)
def test_names_on_the_hub(source: str, name: str, chosen: str | None) -> None:
    assert hub.locate(source) == hub.Place(name, None, chosen)


# What is refused.


def two_columns(folder: Path) -> str:
    return parquet(folder, train=make(**dict.fromkeys(("image", "depth"), (cells(COLOR), "image"))))


def two_labels(folder: Path) -> str:
    labels = dict.fromkeys(("label", "fine"), (LABELS, "classes"))
    return parquet(folder, train=make(image=(cells(COLOR), "image"), **labels))


def unreadable(folder: Path) -> str:
    return parquet(folder, train=make(image=([{"bytes": b"x", "path": None}] * 3, "image")))


def damaged(folder: Path) -> str:
    (folder / "data").mkdir(parents=True)
    (folder / "data/train.parquet").write_bytes(b"PAR1" + bytes(99))
    return f"hf:{folder}"


def script(folder: Path) -> str:
    """Writes a loading script, which must not run."""
    folder.mkdir()
    (folder / "set.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    return f"hf:{folder}"


def empty(folder: Path) -> str:
    folder.mkdir()
    return f"hf:{folder}"


BAD: dict[str, tuple[Callable[[Path], str], Reading, tuple[str, ...]]] = {
    "nothing": (lambda _: "hf:", Reading(), ("neither a folder nor a name",)),
    "no folder": (lambda folder: f"hf:{folder}", Reading(), ("neither a folder nor a name",)),
    "a URL": (lambda _: "hf:https://example.org/x", Reading(), ("neither a folder nor a name",)),
    "a bucket": (lambda _: "hf:buckets/a/b", Reading(), ("neither a folder nor a name",)),
    "unknown name": (
        lambda _: "hf:someone/pets",
        Reading(),
        ("not in Hugging Face's cache", "no answer from", "hf:FOLDER"),
    ),
    "empty folder": (empty, Reading(), ("cannot be loaded", "data files")),
    "damaged file": (damaged, Reading(), ("cannot be loaded", "Parquet magic bytes")),
    "loading script": (script, Reading(), ("scripts are no longer supported",)),
    "no pictures": (
        lambda folder: parquet(folder, train=make(a=([1, 2], "int8"), b=(["x", "y"], "string"))),
        Reading(),
        ("no column of pictures, only 'a', 'b'",),
    ),
    "two columns of pictures": (two_columns, Reading(), ("'image', 'depth'", "save_to_disk")),
    "two columns of labels": (two_labels, Reading(), ("'label', 'fine'", "--label label")),
    "no such label": (
        lambda folder: parquet(folder, train=rows(COLOR, LABELS)),
        Reading(label="kind"),
        ("no column 'kind'", "one of 'label'"),
    ),
    "pictures as labels": (
        lambda folder: parquet(folder, train=rows(COLOR)),
        Reading(label="image"),
        ("no column 'image'", "leave it out"),
    ),
    "missing label": (
        lambda folder: parquet(folder, train=rows(COLOR, [None, *LABELS[1:]])),
        Reading(),
        ("the first at row 0",),
    ),
    "several splits without train": (
        lambda folder: parquet(folder, test=rows(COLOR), validation=rows(COLOR)),
        Reading(),
        ("has the splits", "'test'", "'validation'"),
    ),
    "empty split": (
        lambda folder: parquet(folder, train=rows(COLOR), test=rows(COLOR[:0])),
        Reading(),
        ("cannot be loaded", "no data"),
    ),
    "one picture": (
        lambda folder: parquet(folder, train=rows(COLOR[:1])),
        Reading(),
        ("1 example:",),
    ),
    "nothing readable": (
        unreadable,
        Reading(skip_unreadable=True),
        ("no picture in", "not a picture"),
    ),
    "fit without size": (
        lambda folder: parquet(folder, train=rows(COLOR)),
        Reading(fit="crop"),
        ("--size 64",),
    ),
    "options of arrays": (
        lambda folder: parquet(folder, train=rows(COLOR)),
        Reading(scale="minmax"),
        ("--scale does not apply to Hugging Face datasets",),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make, reading, phrases = BAD[case]
    message = error_of(make(tmp_path / "set"), reading)
    for phrase in phrases:
        assert phrase in message
    assert not (tmp_path / "ran").exists()
    assert "ERROR" not in capfd.readouterr().err


def test_splits_that_do_not_suit(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"train": rows(COLOR), "test": rows(COLOR[:0])}  # `datasets` refuses to load it
    monkeypatch.setattr(huggingface, "load_splits", lambda place: splits)
    assert "the split test of hf:pets is empty" in error_of("hf:pets")
    splits["test"] = rows(COLOR, LABELS)
    assert "differ in their columns" in error_of("hf:pets")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    source = parquet(tmp_path / "set", train=rows(COLOR))
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "pip install -e '.[hf]'" in error_of(source)


def test_an_old_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.__version__", "3.6.0")
    assert "pip install 'datasets>=4.0'" in error_of("hf:mnist")


def test_offline_mode_is_respected_and_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = parquet(tmp_path / "set", train=rows(COLOR))
    huggingface.open_dataset(source, Reading())
    config = importlib.import_module("datasets.config")
    assert not config.HF_HUB_OFFLINE
    monkeypatch.setattr(connection, "why_unreachable", lambda url, size: pytest.fail("asks"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in error_of("hf:someone/pets")
