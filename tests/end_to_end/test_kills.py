"""Runs that are killed without a word, again and again, and still end at the same bits."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxae import checkpoint
from jaxae.checkpoint import reading
from support.commands import REPOSITORY, SECONDS, environment

# Imports once, then forks: what is killed is a process of its own that runs an experiment from its
# start, on one core, for CPUs promise the same bits only there.
DRIVER = """
import glob, math, os, random, runpy, signal, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, matplotlib.pyplot, tyro
from orbax.checkpoint import v1
from jaxae import recipes, runs

def start(line):
    child = os.fork()
    if child == 0:
        sys.argv = [experiment, *line.split()]
        try:
            runpy.run_path(experiment, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return child

def count_lines():
    try:
        with open(f"{folder}/metrics.jsonl") as metrics:
            return len(metrics.readlines())
    except FileNotFoundError:
        return 0

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

experiment, kills, line, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
moments = random.Random(0)
assert wait(start(f"{line} --out whole")) == 0
started = time.monotonic()
child = start(f"{line} --out again")  # compiled by now
while not os.path.exists("again/metrics.jsonl"):
    time.sleep(0.01)
begun = time.monotonic()
assert wait(child) == 0
startup, training = begun - started, time.monotonic() - begun
print("startup", startup, "training", training)
killed = saving = 0
while killed < kills:
    begun = os.path.exists(f"{folder}/config.json")
    child = start(f"--resume {folder}" if begun else f"{line} --out {folder}")
    # Every other time while a checkpoint is being written, else while it starts, trains or saves;
    # always early enough for all the kills, also if the machine has got faster since.
    deadline = time.monotonic() + moments.uniform(0, startup + 2 * training / kills)
    writing, most = [], math.inf
    if killed % 2 == 0:
        most = count_lines() + 1
    else:
        deadline += 60
        skipped = moments.randrange(3)  # so many looks at one that is being written
    while time.monotonic() < deadline and not writing and count_lines() < most:
        time.sleep(0.002)
        if killed % 2:
            writing = glob.glob(f"{folder}/checkpoints/*tmp*")
            if writing and skipped:
                writing, skipped = [], skipped - 1
    os.kill(child, signal.SIGKILL)
    saving += bool(writing)
    code = wait(child)
    assert code in (0, -signal.SIGKILL), code
    if code == 0:  # it had ended
        break
    killed += 1
print(f"killed {killed} times, {saving} of them while a checkpoint was being written")
assert wait(start(f"--resume {folder}")) == 0
"""


def arrays_of(folder: Path, step: int) -> dict[str, int]:
    """The checksums of a checkpoint's leaves, by name."""
    leaves = reading.read_metadata(folder / "checkpoints" / str(step))["leaves"]
    return {name: leaf["crc32"] for name, leaf in leaves.items()}


@pytest.mark.slow
def test_killed_twenty_times_and_the_same_to_the_bit(tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs os.sched_setaffinity, to run on one core")
    experiment = str(REPOSITORY / "experiments" / "fashion.py")
    line = "--dataset mnist_mini --epochs 15 --batch-size 500"
    process = subprocess.run(
        [sys.executable, "-c", DRIVER, experiment, "20", line, "killed"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
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
