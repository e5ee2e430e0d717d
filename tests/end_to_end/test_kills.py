"""Runs that are killed with SIGKILL, again and again, and still end with the same bits."""

import json
import os
import re
from pathlib import Path

import pytest

from jaxae import checkpoint
from jaxae.checkpoint import reading
from support.commands import REPOSITORY, environment, run_program

pytestmark = pytest.mark.slow


def arrays_of(folder: Path, step: int) -> dict[str, int]:
    """The checksums of a checkpoint's leaves, by name."""
    leaves = reading.read_metadata(folder / "checkpoints" / str(step))["leaves"]
    return {name: leaf["crc32"] for name, leaf in leaves.items()}


def test_a_run_killed_twenty_times_ends_with_the_same_bits(tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs os.sched_setaffinity, to run on one core")
    experiment = str(REPOSITORY / "experiments" / "fashion.py")
    line = "--dataset mnist_mini --epochs 15 --batch-size 500"
    process = run_program(
        "kill_repeatedly",
        *(experiment, "20", line, "killed"),
        folder=tmp_path,
        variables=environment(tmp_path),
    )
    assert process.returncode == 0, process.stderr
    killed, saving = map(int, re.findall(r"killed (\d+) times, (\d+) of them", process.stdout)[0])
    print(killed, "kills,", saving, "while saving")
    assert killed == 20
    assert saving >= 5
    whole, resumed = tmp_path / "whole", tmp_path / "killed"
    assert checkpoint.steps(resumed / "checkpoints") == checkpoint.steps(whole / "checkpoints")
    for step in checkpoint.steps(whole / "checkpoints"):
        assert arrays_of(resumed, step) == arrays_of(whole, step)
    lines, expected = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (resumed, whole)
    )
    for line, other in zip(lines, expected, strict=True):
        assert {**line, "seconds": 0, "images_per_second": 0} == {
            **other,
            "seconds": 0,
            "images_per_second": 0,
        }
    names = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for folder in (resumed, whole)
    ]
    assert [n for n in names[0] if "checkpoints" not in n] == [
        n for n in names[1] if "checkpoints" not in n
    ]
    assert not [path for path in resumed.rglob("*") if "tmp" in path.name or "part" in path.name]
