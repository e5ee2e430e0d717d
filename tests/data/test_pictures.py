"""A user's folder of pictures: its splits, classes and sizes, and what is wrong with it."""

import os
import re
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae.data import own
from jaxae.data.readers import listing, parallel, picture_decoding, picture_sets
from jaxae.data.readers.pictures import PICTURES
from jaxae.data.reading import Opened, Reading
from jaxae.data.splits import hold_out
from jaxae.errors import UserError

Pixels = dict[str, dict[int, np.ndarray]]


def write(path: Path, value: int = 0, shape: tuple[int, ...] = (4, 5, 3), **options: Any) -> Path:
    """Writes a picture of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path, **options)
    return path


def collect(opened: Opened) -> Pixels:
    """Returns the examples of each split by position."""
    found: Pixels = {"train": {}, "test": {}}
    for piece in opened.read():
        assert piece.examples.dtype == opened.dtype
        assert piece.examples.shape == (len(piece.positions), *opened.shape)
        for position, example in zip(piece.positions.tolist(), piece.examples, strict=True):
            assert 0 <= position < opened.counts[piece.split]
            assert position not in found[piece.split]
            found[piece.split][position] = example
    return found


def read(path: Path, **options: Any) -> tuple[Opened, dict[str, list[int]]]:
    """Opens a folder, and returns the first pixel of each picture in order of position."""
    opened = PICTURES.open(path, Reading(**options))
    found = collect(opened)
    return opened, {
        split: [int(examples[n][0, 0, 0]) for n in sorted(examples)]
        for split, examples in found.items()
    }


# Splits.


def test_train_and_test_are_the_splits(tmp_path: Path) -> None:
    for value, name in enumerate(["train/b", "train/a/c", "test/d"]):
        write(tmp_path / f"{name}.png", 10 * value)
    opened, values = read(tmp_path)
    assert values == {"train": [10, 0], "test": [20]}  # sorted by path
    assert opened.counts == {"train": 2, "test": 1}
    assert opened.shape == (4, 5, 3)
    assert opened.dtype == np.uint8
    assert own.name_of(str(tmp_path)) == tmp_path.name
    assert opened.labels is None
    assert opened.class_names == ()
    assert opened.scaling is None


def test_splits_are_found_in_any_case(tmp_path: Path) -> None:
    write(tmp_path / "Train" / "a.png", 1)
    write(tmp_path / "TEST" / "a.png", 2)
    assert read(tmp_path)[1] == {"train": [1], "test": [2]}


@pytest.mark.parametrize("below", ["", "train/"])
def test_a_tenth_is_held_out_by_path(tmp_path: Path, below: str) -> None:
    names = [f"{below}set {n % 3}/picture {n}.png" for n in range(100)]
    for value, name in enumerate(names):
        write(tmp_path / name, value)
    _, values = read(tmp_path)
    held = hold_out(names)
    assert 0 < held.sum() < 30
    assert sorted(values["test"]) == np.flatnonzero(held).tolist()
    assert sorted(values["train"] + values["test"]) == list(range(100))


def test_a_picture_stays_on_its_side_when_others_are_added(tmp_path: Path) -> None:
    for n in range(60):
        write(tmp_path / f"{n}.png", n)
    _, before = read(tmp_path)
    for n in range(60, 120):
        write(tmp_path / f"{n}.png", n)
    _, after = read(tmp_path)
    for split in before:
        assert set(before[split]) == {n for n in after[split] if n < 60}


def test_a_path_is_hashed_in_composed_form(tmp_path: Path) -> None:
    composed, decomposed = tmp_path / "composed", tmp_path / "decomposed"
    for n in range(40):
        write(composed / f"\u00e9{n}.png", n)
        write(decomposed / f"e\u0301{n}.png", n)
    assert read(composed)[1] == read(decomposed)[1]


# Classes.


def test_class_folders_become_labels(tmp_path: Path) -> None:
    for value, name in enumerate(["train/dog/x/1", "train/cat/2", "test/dog/3", "train/cat/1"]):
        write(tmp_path / f"{name}.png", value)
    opened, values = read(tmp_path)
    assert opened.class_names == ("cat", "dog")
    assert opened.labels is not None
    assert values == {"train": [3, 1, 0], "test": [2]}
    assert opened.labels["train"].tolist() == [0, 0, 1]
    assert opened.labels["test"].tolist() == [1]
    assert opened.labels["train"].dtype == np.int32


def test_labels_without_a_test_split_follow_their_pictures(tmp_path: Path) -> None:
    for value in range(40):
        write(tmp_path / "abcd"[value % 4] / f"{value}.png", value)
    opened, values = read(tmp_path)
    assert opened.class_names == ("a", "b", "c", "d")
    assert opened.labels is not None
    for split, pixels in values.items():
        assert opened.labels[split].tolist() == [value % 4 for value in pixels]


def test_a_class_may_be_held_out_whole(tmp_path: Path) -> None:
    for n in range(200):
        write(tmp_path / "train" / f"class {n}" / "x.png", n)
    opened, _ = read(tmp_path)
    assert opened.labels is not None
    assert len(opened.class_names) == 200
    assert not set(opened.labels["train"].tolist()) & set(opened.labels["test"].tolist())


def test_one_folder_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(3):
        write(tmp_path / "images" / f"{n}.png")
    opened, _ = read(tmp_path)
    assert opened.labels is None
    assert capsys.readouterr().err == ""


def test_pictures_outside_of_class_folders_mean_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train/cat/1", "train/dog/1", "test/1", "test/2"):
        write(tmp_path / f"{name}.png")
    opened, _ = read(tmp_path)
    assert opened.labels is None
    assert opened.class_names == ()
    assert capsys.readouterr().err == (
        f"jaxae: no labels for {tmp_path.name}: 2 of 4 pictures lie in no class folder, such as "
        "test/1.png\n"
    )


# Names and files.


def test_names_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "m\u00fc lle\u0301r \U0001f600"
    strange = os.fsdecode(b"latin-\xe9")
    for value, name in enumerate(["a b", "\u732b", "\U0001f431", strange, "new\nline"]):
        write(root / name / f"{name}.png", value)
        (root / name / f"{name}.txt").write_text("no picture")
    opened, values = read(root, skip_unreadable=True)
    assert sorted(values["train"] + values["test"]) == list(range(5))
    assert own.name_of(str(root)) == "m\u00fc ll\u00e9r \U0001f600"
    assert set(opened.class_names) == {"a b", "\u732b", "\U0001f431", "latin-\\udce9", "new\\nline"}
    "\n".join(opened.class_names).encode()  # as the fingerprint does
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "latin-\\udce9/latin-\\udce9.txt (not a picture)" in lines[0]


@pytest.mark.parametrize("given", [".", "..", "inner/..", "../folder"])
def test_a_folder_without_a_name_of_its_own(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    for n in range(2):
        write(folder / "inner" / f"{n}.png")
    monkeypatch.chdir(folder / "inner" if given == ".." else folder)
    assert sum(map(len, read(Path(given))[1].values())) == 2
    assert own.name_of(given) == "folder"


def test_hidden_files_and_those_of_systems_are_ignored(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / f"{n}.png", n)
    write(tmp_path / ".hidden.png")
    write(tmp_path / ".thumbnails" / "1.png")
    write(tmp_path / "__MACOSX" / "1.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._1.png"):
        (tmp_path / name).write_text("no picture")
    assert sum(map(len, read(tmp_path)[1].values())) == 3
    assert PICTURES.files(tmp_path) == [tmp_path / f"{n}.png" for n in range(3)]


def test_files_are_all_regular_files_in_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "a.png", "b/1.png"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert [file.relative_to(tmp_path).as_posix() for file in PICTURES.files(tmp_path)] == [
        "a.png",
        "b/1.png",
        "b/2.png",
        "notes.txt",
    ]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    write(tmp_path / "1.png", 7).rename(tmp_path / "1.txt")
    write(tmp_path / "2.bmp", 7).rename(tmp_path / "2")
    write(tmp_path / "3.png" / "3.png", 7)  # a folder
    assert sum(map(len, read(tmp_path)[1].values())) == 3


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for value, path in enumerate([root / "z" / "1.png", outside / "2.png", tmp_path / "3.png"]):
        write(path, value)
    (root / "a").symlink_to(root / "z")  # sorts before the real one
    (root / "z" / "up").symlink_to("..")
    (root / "other").symlink_to(outside)
    (root / "again").symlink_to(outside)
    (outside / "back").symlink_to(root)
    (root / "3.png").symlink_to(tmp_path / "3.png")
    names = listing.list_files(root)
    assert names == listing.Listing(("3.png", "again/2.png", "z/1.png"), {})
    assert sum(map(len, read(root)[1].values())) == 3


def test_nothing_blocks_or_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.png")
    write(tmp_path / "b.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.png")  # the whole path may be too long
        with pytest.raises(UserError) as error:
            read(tmp_path)
    assert str(error.value) == (
        f"5 of 7 files in {tmp_path} cannot be read as pictures: broken.png (a link to nothing), "
        "circle.png (Too many levels of symbolic links), null.png (not a regular file), pipe.png "
        "(not a regular file), s.png (not a regular file): repair or remove them, or leave them "
        "out with --skip-unreadable"
    )


def test_files_and_folders_without_permission_are_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "locked", "closed/c"):
        write(tmp_path / f"{name}.png")
    scandir, open_file = os.scandir, Path.open

    def refuse(path: Any) -> None:  # root has every permission, so chmod would not do
        if Path(path).name in ("locked.png", "closed"):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) or scandir(path))
    monkeypatch.setattr(
        Path, "open", lambda path, *more, **named: refuse(path) or open_file(path, *more, **named)
    )
    with pytest.raises(UserError, match=r"2 of 4 files .*: closed/ \(Perm.*, locked.png \(Perm"):
        read(tmp_path)


@pytest.mark.slow
def test_thousands_of_files_in_one_folder_come_in_small_pieces(tmp_path: Path) -> None:
    content = write(tmp_path / "0.png", shape=(2, 2)).read_bytes()
    for n in range(1, 6000):
        (tmp_path / f"{n}.png").write_bytes(content)
    opened = PICTURES.open(tmp_path, Reading())
    assert opened.counts["train"] + opened.counts["test"] == 6000
    lengths = [len(piece.positions) for piece in opened.read()]
    assert sum(lengths) == 6000
    assert max(lengths) <= 1000


# Sizes and channels.


def test_pictures_of_one_size_after_rotation_need_no_option(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "a.png")
    write(tmp_path / "b.png", shape=(5, 4, 3), exif=exif)
    assert read(tmp_path)[0].shape == (4, 5, 3)


@pytest.mark.parametrize("size", [(8, 10), (80, 100), (33, 41)])  # 33 x 41.25
def test_a_size_of_the_same_proportions_needs_no_fit(tmp_path: Path, size: tuple[int, ...]) -> None:
    write(tmp_path / "a.png", 9, (40, 50, 3))
    write(tmp_path / "b.png", 9, (400, 500, 3))
    opened, values = read(tmp_path, size=size)
    assert opened.shape == (*size, 3)
    assert values == {"train": [9], "test": [9]}


def test_one_number_is_the_side_of_a_square(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path / f"{n}.png", n, (6 + n, 9, 3))
    for fit in ("crop", "pad", "stretch"):
        opened, _ = read(tmp_path, size=(4,), fit=fit)
        assert opened.shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("kinds", "channels"),
    [
        (["gray", "gray16", "bilevel", "gray alpha", "gray palette"], 1),
        (["gray", "color"], 3),
        (["gray", "palette"], 3),
        (["gray palette", "gray palette"], 1),
        (["gray", "cmyk"], 3),
        (["gray", "gray in color"], 3),
    ],
)
def test_the_default_channels(tmp_path: Path, kinds: list[str], channels: int) -> None:
    ramp = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
    gray = Image.fromarray(ramp)
    palette = Image.frombytes("P", (5, 4), (ramp // 12).tobytes())
    palette.putpalette([n * k % 256 for n in range(20) for k in (5, 7, 9)])
    grays = Image.frombytes("P", (5, 4), (ramp // 12).tobytes())
    grays.putpalette([250 - n * 12 for n in range(20) for _ in range(3)])
    images = {
        "gray": gray,
        "gray16": Image.fromarray(ramp.astype(np.uint16) * 200),
        "bilevel": gray.convert("1"),
        "gray alpha": gray.convert("LA"),
        "gray palette": grays,
        "palette": palette,
        "color": Image.fromarray(np.dstack([ramp, ramp, 255 - ramp])),
        "cmyk": gray.convert("CMYK"),
        "gray in color": gray.convert("RGB"),
    }
    for n, kind in enumerate(kinds):
        images[kind].save(tmp_path / f"{n}.{'tiff' if kind == 'cmyk' else 'png'}")
    assert read(tmp_path)[0].shape == (4, 5, channels)
    for given in (1, 3):
        assert read(tmp_path, channels=given)[0].shape == (4, 5, given)


def test_pixels_come_in_fixed_order_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(40):
        write(tmp_path / "train" / f"{n:02}.png", n)
        write(tmp_path / "test" / f"{n:02}.png", 100 + n)
    monkeypatch.setattr(picture_sets, "_BYTES_AT_ONCE", 0)  # as few as keep all threads busy
    opened = PICTURES.open(tmp_path, Reading())
    pieces = list(opened.read())
    assert len(pieces) > 4
    assert [piece.split for piece in pieces] == sorted((p.split for p in pieces), reverse=True)
    positions = [n for piece in pieces for n in piece.positions.tolist()]
    assert positions == [*range(40), *range(40)]
    values = [n for piece in pieces for n in piece.examples[:, 0, 0, 0].tolist()]
    assert values == [*range(40), *range(100, 140)]
    assert [n for p in opened.read() for n in p.positions.tolist()] == positions  # once more


# What is said.


def test_transparent_pixels_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(4):
        write(tmp_path / f"{n}.png", 0, (4, 5, 4) if n < 2 else (4, 5, 3))
    for background, other, value in (("white", "black", 255), ("black", "white", 0)):
        _, values = read(tmp_path, background=background)
        assert sorted(values["train"] + values["test"]) == sorted([0, 0, value, value])
        assert capsys.readouterr().err == (
            f"jaxae: 2 of 4 pictures have transparent pixels, drawn over {background} "
            f"(--background {other} for {other})\n"
        )


def test_an_opaque_picture_is_not_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(2):
        write(tmp_path / f"{n}.png", 255, (4, 5, 4))
    read(tmp_path)
    assert capsys.readouterr().err == ""


def test_many_pictures_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(4):
        write(tmp_path / f"{n}.png")
    monkeypatch.setattr(parallel, "MANY", 4)
    read(tmp_path)
    assert capsys.readouterr().err == f"jaxae: decoding 4 pictures of {tmp_path.name} ...\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    read(tmp_path)
    assert "decoding" in capsys.readouterr().err


# Unreadable files.


def damage(path: Path) -> Path:
    """Cuts the pixels of a picture, whose header stays."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:70])
    return path


def test_unreadable_files_are_listed_once_all_are_read(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path / f"{n}.png")
    damage(tmp_path / "3.png")
    (tmp_path / "0.json").write_text("{}")
    (tmp_path / "1.csv").write_text("")
    for n in range(2, 8):
        (tmp_path / f"z{n}.txt").write_text("no picture")
    opened = PICTURES.open(tmp_path, Reading())
    with pytest.raises(UserError) as error:
        collect(opened)
    assert re.fullmatch(
        rf"9 of 28 files in {re.escape(str(tmp_path))} cannot be read as pictures: 0.json \(not a "
        r"picture\), 1.csv \(it is empty\), 3.png \(damaged: [^()]+\), z2.txt \(not a picture\), "
        r"z3.txt \(not a picture\) and 4 more: repair or remove them, or leave them out with "
        r"--skip-unreadable",
        str(error.value),
    )


def test_unreadable_files_are_skipped_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(20):
        write(tmp_path / "train" / f"{n:02}.png", n)
        write(tmp_path / "test" / f"{n:02}.png", n)
    damage(tmp_path / "train" / "07.png")
    damage(tmp_path / "test" / "00.png")
    (tmp_path / "readme.txt").write_text("no picture")
    opened = PICTURES.open(tmp_path, Reading(skip_unreadable=True))
    assert opened.counts == {"train": 20, "test": 20}
    found = collect(opened)
    assert sorted(found["train"]) == [n for n in range(20) if n != 7]
    assert sorted(found["test"]) == list(range(1, 20))
    assert all(pixels[0, 0, 0] == n for n, pixels in found["train"].items())
    said = capsys.readouterr().err
    assert said.startswith(f"jaxae: left out 3 of 41 files in {tmp_path}: readme.txt (not a pic")
    assert said.count("\n") == 1


def test_a_file_that_vanishes_is_unreadable(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path / f"{n}.png")
    opened = PICTURES.open(tmp_path, Reading())
    (tmp_path / "2.png").unlink()
    with pytest.raises(UserError, match=r"1 of 4 .*: 2.png \(No such file or directory\)"):
        collect(opened)


def test_odd_metadata_does_not_warn(tmp_path: Path) -> None:
    for n in range(2):  # warnings are errors here
        write(tmp_path / f"{n}.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    _, values = read(tmp_path)
    assert sum(map(len, values.values())) == 2


# Wrong input: options and a function that makes a folder, and what the error says.


def some(*names: str, shape: tuple[int, ...] = (4, 5, 3)) -> Callable[[Path], object]:
    return lambda path: [write(path / name, shape=shape) for name in names]


def text(*names: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text("no picture")

    return make


def many(*makers: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: [make(path) for make in makers]


TWO = some("a.png", "b.png")
SIZES = many(
    *(some(*(f"{n}-{k}.png" for k in range(n)), shape=(n, n + 1, 3)) for n in range(2, 8)),
)

CASES: dict[str, tuple[dict[str, Any], Callable[[Path], object], str]] = {
    "nothing there": ({}, lambda path: path.rmdir(), "is not a folder: give --dataset a folder"),
    "a file": (
        {},
        lambda path: (path.rmdir(), path.write_text("mine")),
        "is not a folder: give --dataset a folder",
    ),
    "an empty folder": ({}, some(), "has no pictures, and no files: give --dataset"),
    "only empty folders": ({}, lambda path: (path / "train").mkdir(), "no pictures, and no files"),
    "only hidden pictures": ({}, some(".a.png"), "has no pictures, and no files"),
    "only other files": (
        {},
        text(*(f"{n}.txt" for n in range(7))),
        r"has no pictures, and no other files than 0.txt \(not a picture\), .* and 2 more: give",
    ),
    "other files to skip": ({"skip_unreadable": True}, text("a.txt"), "has no pictures"),
    "an empty picture": (
        {},
        lambda path: (path / "a.png").touch(),
        r"no pictures.* a.png \(it is empty\)",
    ),
    "one picture": ({}, some("a.png"), "has one picture, a.png: give two or more"),
    "one picture in train": ({}, some("train/a.png"), "has one picture, train/a.png"),
    "an empty test": (
        {},
        many(some("train/a.png", "train/b.png"), lambda path: (path / "test").mkdir()),
        "the folder test in .* has no pictures: add some, or remove it",
    ),
    "an empty train": (
        {},
        many(some("test/a.png", "test/b.png"), lambda path: (path / "train").mkdir()),
        "the folder train in .* has no pictures",
    ),
    "a test of other files": (
        {"skip_unreadable": True},
        many(some("train/a.png", "train/b.png"), text("test/a.txt")),
        "the folder test in .* has no pictures",
    ),
    "test without train": ({}, some("test/a.png"), "has a folder test and none named train"),
    "pictures beside train and test": (
        {},
        some("train/a.png", "test/b.png", "c.png", "other/d.png"),
        r"a folder test and a folder train, and pictures elsewhere \(2, such as c.png\): move them",
    ),
    "validation beside train": (
        {},
        some("train/a.png", "val/b.png"),
        r"has a folder train, and pictures elsewhere \(1, such as val/b.png\): move them",
    ),
    "a class named train": (
        {},
        some("bus/a.png", "train/a.png"),
        "such as bus/a.png.: .* or rename a folder that is a class",
    ),
    "a class of test alone": (
        {},
        some("train/cat/a.png", "train/dog/a.png", "test/Cat/b.png"),
        "test in .* has a class that train lacks, Cat: rename it",
    ),
    "several sizes": (
        {},
        SIZES,
        r"have 6 sizes \(height x width\): 7 of 7x8, 6 of 6x7, 5 of 5x6, 9 of others: give them "
        "one, such as --size 64 --fit crop$",
    ),
    "a size and its rotation": (
        {},
        many(some("a.png"), some("b.png", shape=(5, 4, 3))),
        "have 2 sizes .*: 1 of 4x5, 1 of 5x4: give",
    ),
    "other proportions": (
        {"size": (64,)},
        TWO,
        "2 of 2 pictures in .* other proportions than 64x64 .*: 2 of 4x5: .* --size 64 --fit crop, "
        "or pad or stretch$",
    ),
    "proportions of another size": (
        {"size": (8, 10)},
        many(TWO, some("c.png", shape=(5, 4, 3))),
        "1 of 3 pictures .* than 8x10 .*: 1 of 5x4: .* --size 8 10 --fit crop",
    ),
    "a fit without a size": ({"fit": "pad"}, TWO, "^--fit pad was given without a size: add one"),
    "huge pictures": (
        {},
        some("a.png", "b.png", shape=(1, 5000)),
        "have 1x5000 pixels, more than 4096 on a side: make them smaller, such as with --size 64",
    ),
    "no number": ({"size": ()}, TWO, "^--size  was given"),
    "three numbers": ({"size": (8, 8, 3)}, TWO, "^--size 8 8 3 was given: give one number"),
    "a size of 0": ({"size": (0,)}, TWO, "^--size 0 was given"),
    "a negative size": ({"size": (8, -1)}, TWO, "^--size 8 -1 was given"),
    "a huge size": ({"size": (4097,)}, TWO, "from 1 to 4096 pixels"),
    "a scale": ({"scale": "none"}, TWO, "^--scale does not apply to a folder of pictures: leave"),
    "channels first": ({"channels_first": True}, TWO, "^--channels-first does not apply to"),
    "a label": ({"label": "kind"}, TWO, "^--label does not apply to"),
    "other files": ({}, many(TWO, text("a.txt")), r"1 of 3 files .*: a.txt \(not a picture\): re"),
    "an archive": (
        {},
        many(TWO, lambda path: shutil.make_archive(str(path / "z"), "zip", path)),
        "z.zip .not a picture.",
    ),
    "a truncated picture": (
        {},
        many(TWO, lambda path: damage(path / "c.png")),
        r"1 of 3 files .*: c.png \(damaged: ",
    ),
    "a split of truncated pictures": (
        {"skip_unreadable": True},
        many(some("train/a.png", "test/b.png"), lambda path: damage(path / "test" / "b.png")),
        r"^no picture of test in .* can be read: test/b.png \(damaged",
    ),
    "floats": (
        {},
        many(TWO, lambda path: Image.new("F", (5, 4)).save(path / "f.tiff")),
        r"f.tiff \(its pixels are floats, whose range is unknown: save 8 or 16 bits\)",
    ),
    "PostScript": (
        {},
        many(TWO, lambda path: Image.new("L", (5, 4)).save(path / "e.eps")),
        r"e.eps \(not a picture\)",
    ),
    "a bomb": (
        {},
        many(TWO, lambda path: Image.new("1", (9500, 9500)).save(path / "big.png")),
        r"big.png \(it has more pixels than Pillow's limit of 89,478,485\)",
    ),
    "a bomb among skipped": (
        {"skip_unreadable": True},
        lambda path: Image.new("1", (9500, 9500)).save(path / "big.png"),
        "no pictures, .*Pillow's limit",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_refused_in_one_paragraph(name: str, tmp_path: Path) -> None:
    options, make, message = CASES[name]
    folder = tmp_path / "given"
    folder.mkdir()
    make(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message) as error:
        read(folder, **options)
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(".")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_commands_in_messages_work(tmp_path: Path) -> None:
    SIZES(tmp_path)
    assert read(tmp_path, size=(64,), fit="crop")[0].shape == (64, 64, 3)


def test_system_errors_are_raised_though_files_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TWO(tmp_path)
    opened = PICTURES.open(tmp_path, Reading(skip_unreadable=True))

    def fail(image: Any, background: str) -> Any:
        raise MemoryError

    monkeypatch.setattr(picture_decoding, "_without_alpha", fail)
    with pytest.raises(UserError, match=r"\.png cannot be read now"):
        collect(opened)
