"""Damages a checkpoint in a folder, in one of two ways, and prints how often that was noticed.

A process of its own, for Orbax's reads go on after the first has failed.
"""

import contextlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxae import checkpoint
from support.trees import assert_same_bits, blank, make_tree, save_two


def files_of(folder: Path) -> list[Path]:
    """The files below a folder that hold something, always in the same order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def is_noticed(file: Path, content: bytes, folder: Path, older: Any, newer: Any) -> bool:
    """Whether other content of a file of step 2 makes restoring fall back to step 1.

    Else what is restored must be step 2.
    """
    whole = file.read_bytes()
    file.write_bytes(content)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        restored = checkpoint.restore(folder, blank(newer))
    file.write_bytes(whole)
    assert "never awaited" not in said.getvalue()
    warned = f"{folder / '2'} is damaged" in said.getvalue()
    assert_same_bits(restored, older if warned else newer)
    return warned


def opens(file: Path, content: bytes, folder: Path) -> None:
    """With other content of a file, a run goes on to save, and keeps the best and the latest."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    (copy / file.relative_to(folder)).write_bytes(content)
    with (
        contextlib.redirect_stderr(io.StringIO()),
        checkpoint.open_checkpoints(copy) as checkpointer,
    ):
        checkpoint.save(checkpointer, 3, make_tree(3), loss=3.0)
    assert checkpoint.steps(copy)[-1] == 3
    assert_same_bits(checkpoint.restore(copy, blank(make_tree(3))), make_tree(3))
    shutil.rmtree(copy)


def flip_bits(folder: Path) -> int:
    """How many of 100 random bits of a checkpoint were noticed when they were flipped."""
    older, newer = save_two(folder, weights=100_000)
    files = files_of(folder / "2")
    ends = np.cumsum([path.stat().st_size for path in files])
    random = np.random.default_rng(0)
    noticed = 0
    for place in random.integers(ends[-1], size=100):
        index = int(np.searchsorted(ends, place, side="right"))
        flipped = bytearray(files[index].read_bytes())
        flipped[place - ends[index]] ^= 1 << random.integers(8)
        noticed += is_noticed(files[index], bytes(flipped), folder, older, newer)
    return noticed


def cut_files(folder: Path) -> int:
    """How many times it was noticed that one file of a checkpoint is half there, or empty."""
    older, newer = save_two(folder)
    noticed = 0
    for keep in (0, 0.5):
        for file in files_of(folder / "2"):
            content = file.read_bytes()[: int(keep * file.stat().st_size)]
            noticed += is_noticed(file, content, folder, older, newer)
            opens(file, content, folder)
    return noticed


if __name__ == "__main__":
    damage, folder = sys.argv[1:]
    print({"flip_bits": flip_bits, "cut_files": cut_files}[damage](Path(folder)))
