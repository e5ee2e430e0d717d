"""Unreadable checkpoints: none is deleted, and no trained run starts again without --restart."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from jaxae import checkpoint
from jaxae.checkpoint import reading, saving
from jaxae.checkpoint.folder import SET_ASIDE
from jaxae.checkpoint.reading import METADATA
from jaxae.errors import UserError
from support import small_run
from support.damage import expect_other_numbers
from support.small_run import STEPS_PER_EPOCH, go, lines_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data

LATEST = 3 * STEPS_PER_EPOCH


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    go(out=folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run of three epochs."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def arrays_of(folder: Path) -> dict[str, bytes]:
    """The files that hold a checkpoint's arrays, by name."""
    files = (folder / "state" / "d").iterdir()
    return {path.name: path.read_bytes() for path in files}


def flip_a_bit(path: Path) -> None:
    content = bytearray((path / METADATA).read_bytes())
    content[content.index(b"crc32") + 9] ^= 1
    (path / METADATA).write_bytes(content)


DAMAGES = {
    "a bit of the description": flip_a_bit,
    "no description": lambda path: (path / METADATA).unlink(),
    "an empty description": lambda path: (path / METADATA).write_text(""),
    "a deep description": lambda path: (path / METADATA).write_text("[" * 10**5),
    "other numbers": expect_other_numbers,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_goes_on_from_an_older_one(
    damage: str, run: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "checkpoints" / str(LATEST)
    before = arrays_of(path)
    DAMAGES[damage](path)
    go(resume=run)
    assert arrays_of(run / "checkpoints" / f"{LATEST}.{SET_ASIDE}") == before
    assert f"{path} (" in capsys.readouterr().err
    losses, expected = (
        [line["test_loss"] for line in lines_of(folder)] for folder in (run, trained)
    )
    assert losses == pytest.approx(expected, rel=1e-5)
    assert checkpoint.steps(run / "checkpoints")[-1] == LATEST


def test_a_step_set_aside_twice_has_two_names(run: Path) -> None:
    for _ in range(2):
        flip_a_bit(run / "checkpoints" / str(LATEST))
        go(resume=run)
    aside = sorted(path.name for path in (run / "checkpoints").glob("*aside*"))
    assert aside == [f"{LATEST}.aside", f"{LATEST}.aside2"]


def fail_to_read(
    monkeypatch: pytest.MonkeyPatch, *, times: int, number: int = errno.EIO
) -> list[Path]:
    """Makes the first reads of descriptions fail, as on a network disk; returns their paths."""
    failed, read = [], Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == METADATA and len(failed) < times:
            failed.append(path)
            raise OSError(number, os.strerror(number), str(path))
        return read(path)

    monkeypatch.setattr(reading, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    return failed


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_an_error_that_passes_changes_nothing(
    number: int, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    failed = fail_to_read(monkeypatch, times=1, number=number)
    go(resume=run)
    assert len(failed) == 1
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before
    assert "warning" not in capsys.readouterr().err


def test_an_error_that_stays_leaves_all_files_unchanged(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    fail_to_read(monkeypatch, times=1000)
    with pytest.raises(UserError, match=r"cannot be read now .*Input/output error.* try again"):
        go(resume=run, epochs=4)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def too_few_descriptors() -> OSError:
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def caused(error: Exception) -> Exception:
    wrapped = ValueError("of Orbax")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    "error",
    [
        too_few_descriptors(),
        OSError(errno.EIO, "Input/output error"),
        MemoryError(),
        caused(too_few_descriptors()),
        ExceptionGroup("of Orbax", [ValueError("x"), caused(too_few_descriptors())]),
        ValueError("Error opening: [os_error_code='24']"),
    ],
    ids=repr,
)
def test_a_system_error_while_reading_arrays_is_no_damage(
    error: Exception, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orbax.checkpoint import v1 as ocp

    def load(*_: object) -> None:
        raise error

    before = sorted(run.rglob("*"))
    monkeypatch.setattr(reading, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(ocp, "load", load)
    with pytest.raises(UserError, match="cannot be read now"):
        go(resume=run, epochs=4)
    assert sorted(run.rglob("*")) == before


def test_a_first_save_that_cannot_be_verified_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise reading.DamagedError("nothing is there")

    monkeypatch.setattr(saving, "verify", refuse)
    monkeypatch.setattr(saving, "DESCRIPTION_SECONDS", 0.0)
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"nothing is there\): check the disk, and resume") as told:
        go(out=folder, epochs=2)
    assert "intact" not in str(told.value)
    assert len(lines_of(folder)) == 2
    monkeypatch.undo()
    go(resume=folder, epochs=2)
    assert checkpoint.latest_step(folder / "checkpoints") == 2 * STEPS_PER_EPOCH


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_that_has_trained_starts_over_only_when_told_to(
    finished: bool, run: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not finished:
        (run / "summary.json").unlink()
    for step in checkpoint.steps(run / "checkpoints"):
        flip_a_bit(run / "checkpoints" / str(step))
    for _ in range(2):
        with pytest.raises(UserError, match=r"has trained, and no checkpoint .* --restart"):
            go(resume=run)
    assert lines_of(run) == lines_of(trained)
    aside = list((run / "checkpoints").glob("*aside"))
    assert len(aside) == len(checkpoint.steps(trained / "checkpoints"))
    go(resume=run, restart=True)
    assert len(json.loads((run / "config.json").read_text())["resumed"]) == 1
    losses, expected = (
        [line["train_loss"] for line in lines_of(folder)] for folder in (run, trained)
    )
    assert losses == pytest.approx(expected, rel=1e-5)
    assert all(path.is_dir() for path in aside)


def test_a_restart_keeps_whole_checkpoints_as_well(run: Path) -> None:
    steps = checkpoint.steps(run / "checkpoints")
    go(resume=run, restart=True, epochs=1)
    for step in steps:
        assert (run / "checkpoints" / f"{step}.aside" / METADATA).exists()
    assert [line["epoch"] for line in lines_of(run)] == [1]
    assert checkpoint.steps(run / "checkpoints") == [STEPS_PER_EPOCH]


def test_a_run_whose_last_checkpoint_is_damaged_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    verify_latest = checkpoint.verify_latest

    def damage(checkpointer: "checkpoint.Checkpointer", like: object) -> None:
        checkpointer.wait()
        expect_other_numbers(folder / "checkpoints" / str(STEPS_PER_EPOCH * 2))
        verify_latest(checkpointer, like)

    monkeypatch.setattr(checkpoint, "verify_latest", damage)
    with pytest.raises(UserError, match=r"14 was saved, and is damaged: the numbers of .* resume"):
        go(out=folder, epochs=2)
    monkeypatch.undo()
    go(resume=folder, epochs=2)
    assert checkpoint.latest_step(folder / "checkpoints") == STEPS_PER_EPOCH * 2
