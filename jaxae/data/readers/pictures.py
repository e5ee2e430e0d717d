"""Reads a user's folder of pictures: its splits, its classes, and the pixels of each picture."""

from __future__ import annotations

from pathlib import Path

from jaxae.data.readers.listing import list_files, name_of
from jaxae.data.readers.picture_classes import label_pictures, split_pictures
from jaxae.data.readers.picture_sets import (
    OPTIONS,
    PictureSet,
    check_size,
    list_problems,
    open_set,
    read_headers,
)
from jaxae.data.reading import Opened, Reader, Reading
from jaxae.errors import UserError


def open_pictures(path: Path, reading: Reading) -> Opened:
    """Lists the pictures in a folder, reads their headers, and says what they become.

    Pictures are sorted by path; their splits and classes are those of `picture_classes`. Hidden
    files and folders are ignored; every other file should be a picture.

    Raises `UserError` for options that do not suit the folder, and for one without two pictures.
    """
    _check_options(path, reading)
    pictures = _read_headers(path)
    splits = split_pictures(path, list(pictures.headers))
    labels, class_names = label_pictures(path, splits)
    return open_set(pictures, splits, labels, class_names, reading)


def files_of(path: Path) -> list[Path]:
    """Returns all files in a folder of pictures that are not hidden, sorted."""
    return [path / name for name in list_files(path).files]


PICTURES = Reader(files=files_of, open=open_pictures)


def _check_options(path: Path, reading: Reading) -> None:
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: give --dataset a folder of pictures")
    reading.check_only(OPTIONS, "a folder of pictures")
    check_size(reading)


def _read_headers(path: Path) -> PictureSet:
    """Reads the headers of all files in a folder; raises `UserError` if none is a picture."""
    listing = list_files(path)
    pictures = read_headers(
        name_of(path), str(path), path.joinpath, listing.files, listing.problems
    )
    if pictures.headers:
        return pictures
    problems = list_problems(pictures.problems)
    found = f"no other files than {problems}" if problems else "no files"
    raise UserError(f"{path} has no pictures, and {found}: give --dataset a folder of pictures")
