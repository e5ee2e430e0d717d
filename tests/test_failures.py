"""Disks that fill, folders that cannot be written or vanish, and two runs in one folder."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
import small_run
from commands import SECONDS, command, environment, start
from filelock import FileLock
from small_run import STEPS_PER_EPOCH, go, lines_of

from jaxae import checkpoint, recipes, runs
from jaxae.errors import UserError

compiled_once, small_data = small_run.compiled_once, small_run.small_data


def in_threads(test: Callable) -> Callable:
    """Marks a test in which Orbax's threads fail to save, and report it when nobody waits."""
    for name in ("UnhandledThreadException", "UnraisableException"):
        test = pytest.mark.filterwarnings(f"ignore::pytest.Pytest{name}Warning")(test)
    return test


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leaves no room on a folder's disk."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@in_threads
def test_a_disk_that_fills_stops_the_run_and_harms_no_checkpoint(
    small_disk: Path, tmp_path: Path
) -> None:
    def fill_at_two(epoch: recipes.Epoch) -> None:
        if epoch.number == 2:
            fill(small_disk)

    run = small_disk / "run"
    with pytest.raises(UserError, match=r"No space left .*resume"):
        go(out=run, epochs=6, on_epoch=fill_at_two)
    saved = checkpoint.steps(run / "checkpoints")
    assert STEPS_PER_EPOCH in saved
    assert max(saved) < 6 * STEPS_PER_EPOCH
    assert not [path for path in run.rglob("*") if "part" in path.name or "tmp" in path.name]

    (small_disk / "filler").unlink()
    (*_, resumed) = go(resume=run, epochs=6)
    (*_, whole) = go(out=tmp_path / "whole", epochs=6)
    jax.tree.map(
        lambda leaf, other: np.testing.assert_allclose(leaf, other, rtol=1e-5, atol=1e-6),
        resumed.state.params,
        whole.state.params,
    )
    assert [line["epoch"] for line in lines_of(run)] == [1, 2, 3, 4, 5, 6]


def test_a_disk_that_is_full_from_the_start_is_one_error(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(UserError, match="No space left"):
        go(out=small_disk / "run")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@in_threads
def test_a_folder_that_vanishes_is_one_error(tmp_path: Path) -> None:
    def remove(epoch: recipes.Epoch) -> None:
        if epoch.number == 2:
            shutil.rmtree(tmp_path / "run")

    with pytest.raises(UserError, match=r"cannot be (written|saved)"):
        go(out=tmp_path / "run", epochs=6, on_epoch=remove)


def as_nobody_special(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs fashion without root's right to write everywhere."""
    rights = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    if os.geteuid() != 0:
        prefix = []
    elif shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, or a user who is not root")
    return subprocess.run(
        [*prefix, *command("fashion", line)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_a_folder_that_cannot_be_written_is_one_error_and_stays_as_it_was(tmp_path: Path) -> None:
    line = "--dataset mnist_mini --batch-size 500"
    assert start("fashion", f"{line} --epochs 1 --out run", tmp_path).returncode == 0
    run = tmp_path / "run"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    folders = [run, *(path for path in run.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        for options in ("--resume run --epochs 2", f"{line} --epochs 1 --out run/within"):
            process = as_nobody_special(options, tmp_path)
            assert process.returncode == 2, process.stderr
            assert "Permission denied" in process.stderr
            assert "Traceback" not in process.stderr
            assert len(process.stderr.strip().split("\n\n")) == 1
        loaded = as_nobody_special("--load run --out loaded", tmp_path)
        assert loaded.returncode == 0, loaded.stderr  # for which nothing is written there
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path: Path) -> None:
    go(out=tmp_path / "run", epochs=1)
    (tmp_path / "new").mkdir()
    before = lines_of(tmp_path / "run")
    locks = [FileLock(tmp_path / name / runs.LOCK) for name in ("run", "new")]
    with locks[0], locks[1]:
        with pytest.raises(UserError, match="another process is writing"):
            go(resume=tmp_path / "run", epochs=2)
        with pytest.raises(UserError, match="another process is writing"):
            go(out=tmp_path / "new")
        assert lines_of(tmp_path / "run") == before
        assert [path.name for path in (tmp_path / "new").iterdir()] == [runs.LOCK]
    go(resume=tmp_path / "run", epochs=2)
    assert not (tmp_path / "run" / runs.LOCK).exists()
