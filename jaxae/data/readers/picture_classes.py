"""Which split and which class each picture in a folder belongs to, by its path."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxae.data.readers.listing import is_folder, name_of, normalize, printable
from jaxae.data.splits import hold_out
from jaxae.errors import UserError


def split_pictures(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Returns which pictures belong to train and to test, in their order.

    Splits are the folders train and test, in any case; without test about a tenth is held out.

    Raises `UserError` if a split has no pictures, or if there are more beside train and test.
    """
    special = {entry.name.casefold() for entry in path.iterdir() if is_folder(entry)}
    special &= {"train", "test"}
    splits: dict[str, list[str]] = {"train": [], "test": []}
    beside = []
    for name in names:
        first, _, below = name.partition("/")
        splits.get(first.casefold() if below else "", beside).append(name)
    if special and beside:
        raise UserError(
            f"{path} has a folder {' and a folder '.join(sorted(special))}, and pictures elsewhere "
            f"({len(beside):,}, such as {printable(beside[0])}): move them into train or test, or "
            "rename a folder that is a class"
        )
    if special == {"test"}:
        raise UserError(f"{path} has a folder test and none named train: add one, or rename it")
    for split in sorted(special):
        if not splits[split]:
            raise UserError(f"the folder {split} in {path} has no pictures: add some, or remove it")
    if special == {"train", "test"}:
        return splits
    if len(names) == 1:
        raise UserError(
            f"{path} has one picture, {printable(names[0])}: give two or more, of which some are "
            "held out for testing"
        )
    held = hold_out([normalize(name) for name in names])
    return {
        split: [name for name, is_held in zip(names, held, strict=True) if is_held == wanted]
        for split, wanted in (("train", False), ("test", True))
    }


def label_pictures(
    path: Path, splits: Mapping[str, Sequence[str]]
) -> tuple[dict[str, np.ndarray] | None, tuple[str, ...]]:
    """Returns the labels int32 [N] of each split and the class names; None and () without classes.

    Classes are the folders, below train and test if there are such, if there are two or more and
    all pictures lie in one; their order is that of their names.

    Raises `UserError` if the folder test has a class that train lacks.
    """
    classes = {split: [_class_of(name) for name in names] for split, names in splits.items()}
    found = [name for names in classes.values() for name in names]
    class_names = sorted({name for name in found if name is not None})
    if len(class_names) < 2:
        return None, ()
    if None in found:
        every = [name for names in splits.values() for name in names]
        outside = every[found.index(None)]
        print(
            f"jaxae: no labels for {name_of(path)}: {found.count(None):,} of {len(found):,} "
            f"pictures lie in no class folder, such as {printable(outside)}",
            file=sys.stderr,
        )
        return None, ()
    if splits["test"][0].casefold().startswith("test/"):  # not held out
        unknown = sorted({str(name) for name in classes["test"]} - set(map(str, classes["train"])))
        if unknown:
            raise UserError(
                f"the folder test in {path} has a class that train lacks, {unknown[0]}: rename it "
                "or add pictures of it to train, or put the pictures of test directly into it"
            )
    index = {name: number for number, name in enumerate(class_names)}
    labels = {
        split: np.array([index[str(name)] for name in names], np.int32)
        for split, names in classes.items()
    }
    return labels, tuple(class_names)


def _is_split(name: str) -> bool:
    """Returns whether a picture lies in the folder train or test."""
    return name.partition("/")[0].casefold() in ("train", "test") and "/" in name


def _class_of(name: str) -> str | None:
    """Returns the first folder of a picture's path below train and test; None if it has none."""
    below = name.partition("/")[2] if _is_split(name) else name
    first, slash, _ = below.partition("/")
    return printable(normalize(first)) if slash else None
