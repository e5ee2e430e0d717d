"""Disks that fill, folders that cannot be written or vanish, and two runs in one folder."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from jaxae import checkpoint
from jaxae.errors import UserError
from jaxae.runs import disk
from support import small_run
from support.commands import SECONDS, command, environment, start
from support.small_run import go, lines_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 14 megabytes, which two checkpoints of fashion fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=14m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def assert_one_error(process: subprocess.CompletedProcess[str], words: str) -> None:
    """Asserts that a command ended with an error of one paragraph that has these words."""
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert words in process.stderr


LINE = "--dataset mnist_mini --batch-size 500"


def test_a_disk_that_fills_stops_the_run_and_harms_no_checkpoint(
    small_disk: Path, tmp_path: Path
) -> None:
    stopped = start("fashion", f"{LINE} --epochs 5 --out {small_disk}/run", tmp_path)
    assert_one_error(stopped, "No space left on device")
    run = small_disk / "run"
    assert checkpoint.steps(run / "checkpoints") == [10, 20]
    assert not [path for path in run.rglob("*") if "part" in path.name or "tmp" in path.name]

    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    for line in (f"--resume {run}", f"{LINE} --epochs 5 --out whole"):
        process = start("fashion", line, tmp_path)
        assert process.returncode == 0, process.stderr
    losses, expected = (
        [line["train_loss"] for line in lines_of(folder)] for folder in (run, tmp_path / "whole")
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_a_disk_that_is_full_from_the_start_is_one_error(small_disk: Path, tmp_path: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**12))
    process = start("fashion", f"{LINE} --epochs 1 --out {small_disk}/run", tmp_path)
    assert_one_error(process, "No space left on device")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_folder_that_vanishes_is_one_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("fashion", f"{LINE} --epochs 1000 --out run"),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.05)
        (tmp_path / "run").rename(tmp_path / "gone")
        _, said = process.communicate(timeout=SECONDS)
    ended = subprocess.CompletedProcess([], process.returncode, "", said)
    assert_one_error(ended, "run")


def as_nobody_special(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs fashion without root's permission to write everywhere."""
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
    assert start("fashion", f"{LINE} --epochs 1 --out run", tmp_path).returncode == 0
    run = tmp_path / "run"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    folders = [run, *(path for path in run.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        for options in ("--resume run --epochs 2", f"{LINE} --epochs 1 --out run/within"):
            process = as_nobody_special(options, tmp_path)
            assert_one_error(process, "Permission denied")
        loaded = as_nobody_special("--load run --out loaded", tmp_path)
        assert loaded.returncode == 0, loaded.stderr  # loading writes nothing there
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path: Path) -> None:
    go(out=tmp_path / "run", epochs=1)
    (tmp_path / "new").mkdir()
    before = lines_of(tmp_path / "run")
    locks = [FileLock(tmp_path / name / disk.LOCK) for name in ("run", "new")]
    with locks[0], locks[1]:
        with pytest.raises(UserError, match="another process is writing"):
            go(resume=tmp_path / "run", epochs=2)
        with pytest.raises(UserError, match="another process is writing"):
            go(out=tmp_path / "new")
        assert lines_of(tmp_path / "run") == before
        assert [path.name for path in (tmp_path / "new").iterdir()] == [disk.LOCK]
    go(resume=tmp_path / "run", epochs=2)
    assert not (tmp_path / "run" / disk.LOCK).exists()


def test_a_lock_that_cannot_be_removed_while_it_is_held_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = Path.unlink

    def remove_as_on_windows(path: Path, missing_ok: bool = False) -> None:
        if path.name == disk.LOCK:
            raise PermissionError
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", remove_as_on_windows)
    with pytest.raises(UserError, match="--batch-size 101"):
        go(out=tmp_path / "new", batch_size=101)
    go(out=tmp_path / "run", epochs=1)
    go(resume=tmp_path / "run", epochs=2)
    assert len(lines_of(tmp_path / "run")) == 2
