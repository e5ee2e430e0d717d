"""Damages a checkpoint in one of two ways, many times, and prints how often that was noticed.

    python damage_checkpoint.py flip_bits FOLDER

Its arguments are `flip_bits` or `cut_files`, and a folder. It runs as a process of its own, because
Orbax goes on reading after a first read has failed.
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


def _files_of(folder: Path) -> list[Path]:
    """Returns the non-empty files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def _is_noticed(file: Path, content: bytes, folder: Path, older: Any, newer: Any) -> bool:
    """Returns whether restoring falls back to step 1 if a file of step 2 has other content.

    If it does not, it must restore step 2 exactly.
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


def _opens(file: Path, content: bytes, folder: Path) -> None:
    """Checks that a run can still save its next checkpoint when a file has other content."""
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


def _flip_bits(folder: Path) -> int:
    """Flips 100 random bits of a checkpoint, one at a time; returns how many were noticed."""
    older, newer = save_two(folder, weights=100_000)
    files = _files_of(folder / "2")
    ends = np.cumsum([path.stat().st_size for path in files])
    random = np.random.default_rng(0)
    noticed = 0
    for place in random.integers(ends[-1], size=100):
        index = int(np.searchsorted(ends, place, side="right"))
        flipped = bytearray(files[index].read_bytes())
        flipped[place - ends[index]] ^= 1 << random.integers(8)
        noticed += _is_noticed(files[index], bytes(flipped), folder, older, newer)
    return noticed


def _cut_files(folder: Path) -> int:
    """Halves or empties each file of a checkpoint; returns how many times that was noticed."""
    older, newer = save_two(folder)
    noticed = 0
    for keep in (0, 0.5):
        for file in _files_of(folder / "2"):
            content = file.read_bytes()[: int(keep * file.stat().st_size)]
            noticed += _is_noticed(file, content, folder, older, newer)
            _opens(file, content, folder)
    return noticed


if __name__ == "__main__":
    damage, folder = sys.argv[1:]
    print({"flip_bits": _flip_bits, "cut_files": _cut_files}[damage](Path(folder)))
