"""Checkpoints: restored exactly, the right ones kept, and clear errors if they do not fit."""

import math
import os
import re
import shutil
import string
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import checkpoint
from jaxae.checkpoint import reading, saving
from jaxae.checkpoint.folder import SET_ASIDE, UNREADABLE, UNWRITABLE
from jaxae.errors import UserError
from support.commands import run_program
from support.damage import expect_other_numbers
from support.trees import assert_same_bits, blank, make_tree, save_two


def save_losses(folder: Path, *losses: float, keep_all: bool = False) -> None:
    """Saves steps 1, 2, ... with these losses, each with its step in its tree."""
    with checkpoint.open_checkpoints(folder, keep_all=keep_all) as checkpointer:
        for step, loss in enumerate(losses, start=1):
            checkpoint.save(checkpointer, step, {"step": jnp.asarray(step)}, loss=loss)


def restored_step(folder: Path, step: int | None = None) -> int:
    return int(checkpoint.restore(folder, {"step": jnp.asarray(0)}, step)["step"])


@pytest.mark.slow
def test_a_path_may_lead_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep/work").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/work")
    monkeypatch.chdir(tmp_path / "deep/work")
    for place, meant in (("../run", "deep/run"), (f"{tmp_path}/link/../other", "deep/other")):
        save_losses(Path(place), 1.0)
        assert restored_step(Path(place)) == restored_step(tmp_path / meant) == 1


@pytest.mark.slow
def test_restores_the_same_bits(tmp_path: Path) -> None:
    tree = make_tree()
    with checkpoint.open_checkpoints(tmp_path / "checkpoints") as checkpointer:
        checkpoint.save(checkpointer, 3, tree, loss=1.0)
    restored = checkpoint.restore(tmp_path / "checkpoints", blank(tree))
    assert_same_bits(restored, tree)
    # The restored key must also draw the same numbers.
    draw, expected = (jax.random.normal(t["state"]["key"], (4,)) for t in (restored, tree))
    np.testing.assert_array_equal(draw, expected)


def test_a_name_may_have_slashes_and_dots(tmp_path: Path) -> None:
    tree = {"a/b": {"c.d": jnp.arange(3.0)}, "a": {"b": jnp.ones(2)}}
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 1, tree, loss=1.0)
    assert_same_bits(checkpoint.restore(tmp_path, blank(tree)), tree)


def test_a_save_holds_the_values_given_while_training_goes_on(tmp_path: Path) -> None:
    tree = make_tree(1)
    expected = jax.tree.map(jnp.copy, tree)
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 1, tree, loss=1.0)
        tree["state"]["params"] = jax.tree.map(lambda leaf: leaf + 1, tree["state"]["params"])
    assert_same_bits(checkpoint.restore(tmp_path, blank(expected)), expected)


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ((5.0, 1.0, 4.0, 3.0, 2.0), [2, 4, 5]),
        ((1.0, 2.0, 3.0, 4.0), [1, 3, 4]),
        ((4.0, 3.0, 2.0, 1.0), [3, 4]),
        ((1.0,), [1]),
        ((math.nan, 2.0, math.inf, 3.0, 4.0), [2, 4, 5]),
        ((3.0, 2.0, -math.inf, 4.0, 5.0), [2, 4, 5]),
        ((-1.0, -2.0, 0.0, 0.0), [2, 3, 4]),
    ],
)
def test_keeps_the_latest_two_and_the_one_of_lowest_loss(
    losses: tuple[float, ...], kept: list[int], tmp_path: Path
) -> None:
    save_losses(tmp_path, *losses)
    assert checkpoint.steps(tmp_path) == kept


def test_keeps_the_best_of_an_earlier_session(tmp_path: Path) -> None:
    save_losses(tmp_path, 0.5, 2.0, 2.0)
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        for step in (4, 5):
            checkpoint.save(checkpointer, step, {"step": jnp.asarray(step)}, loss=1.0)
    assert checkpoint.steps(tmp_path) == [1, 4, 5]


def test_saves_leave_no_threads_behind(tmp_path: Path) -> None:
    """Each would hold three open files, and a process may open no more than about a thousand."""
    before = set(threading.enumerate())
    save_losses(tmp_path, 3.0, 2.0, 1.0)
    assert set(threading.enumerate()) <= before


def test_keep_all_keeps_all(tmp_path: Path) -> None:
    save_losses(tmp_path, 1.0, 2.0, 3.0, 4.0, keep_all=True)
    assert checkpoint.steps(tmp_path) == [1, 2, 3, 4]


def test_a_folder_named_like_a_step_without_a_checkpoint_is_set_aside(tmp_path: Path) -> None:
    save_losses(tmp_path, 1.0, 2.0)
    for name in ("_CHECKPOINT_METADATA", "state/manifest.ocdbt"):
        (tmp_path / "2" / name).unlink()
    (tmp_path / "20241128" / "copy").mkdir(parents=True)
    (tmp_path / "7").mkdir()
    with checkpoint.open_checkpoints(tmp_path):
        assert checkpoint.steps(tmp_path) == [1]
    assert (tmp_path / f"2.{SET_ASIDE}" / "state" / "d").exists()
    assert (tmp_path / f"20241128.{SET_ASIDE}" / "copy").exists()
    assert not (tmp_path / "7").exists()


@pytest.mark.parametrize("damage", ["gone", "a file"])
def test_a_missing_copy_of_the_loss_is_written_again(damage: str, tmp_path: Path) -> None:
    save_losses(tmp_path, 1.0, 2.0)
    shutil.rmtree(tmp_path / "2" / "metrics")
    if damage == "a file":
        (tmp_path / "2" / "metrics").touch()
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 3, {"step": jnp.asarray(3)}, loss=3.0)
    assert checkpoint.steps(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("name", ["gs:/bucket", "s3:/x", os.fsdecode(b"b\xff")])
def test_a_folder_that_orbax_cannot_write_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is remote, or is not UTF-8") as told:
        checkpoint.check_path(tmp_path / name)
    assert str(told.value).isascii()


@pytest.mark.slow
def test_restores_the_latest_or_the_step_asked_for(tmp_path: Path) -> None:
    save_losses(tmp_path, *np.linspace(2, 1, 11), keep_all=True)
    assert restored_step(tmp_path) == 11  # as a number, not as text
    assert restored_step(tmp_path, 2) == 2


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    for value in (10, 20):
        with checkpoint.open_checkpoints(tmp_path) as checkpointer:
            checkpoint.save(checkpointer, 7, {"step": jnp.asarray(value)}, loss=1.0)
    assert checkpoint.steps(tmp_path) == [7]
    assert restored_step(tmp_path) == 20


def test_delete_after_leaves_the_step_as_the_latest(tmp_path: Path) -> None:
    save_losses(tmp_path, 4.0, 3.0, 2.0, 1.0, keep_all=True)
    with checkpoint.open_checkpoints(tmp_path, keep_all=True) as checkpointer:
        checkpoint.delete_after(checkpointer, 2)
        assert restored_step(tmp_path) == 2
        checkpoint.save(checkpointer, 3, {"step": jnp.asarray(33)}, loss=1.0)
    assert checkpoint.steps(tmp_path) == [1, 2, 3]
    assert restored_step(tmp_path) == 33


def test_a_deleted_checkpoint_is_no_longer_the_best(tmp_path: Path) -> None:
    save_losses(tmp_path, 3.0, 2.0, 1.0)
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.delete_after(checkpointer, 2)
        for step in (4, 5):
            checkpoint.save(checkpointer, step, {"step": jnp.asarray(step)}, loss=9.0)
    assert checkpoint.steps(tmp_path) == [2, 4, 5]


def test_remains_of_a_killed_save_are_removed_and_never_read(tmp_path: Path) -> None:
    save_losses(tmp_path, 1.0)
    leftover = tmp_path / "2.orbax-checkpoint-tmp-17" / "state"
    leftover.mkdir(parents=True)
    (leftover / "array").write_bytes(b"half")
    assert checkpoint.steps(tmp_path) == [1]
    assert restored_step(tmp_path) == 1
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        assert not leftover.parent.exists()
        checkpoint.save(checkpointer, 2, {"step": jnp.asarray(2)}, loss=1.0)
    assert restored_step(tmp_path) == 2


NAMES = [f"a{character}b" for character in (*string.punctuation, " ", "\n", "é", "日", "\u202e")]
NAMES += ["[lr=1e-3]", "{x}", "~", "-rf", "$HOME", "%2F", "a b'c\"d", "trailing.", "c:", "#x?y=1"]


@pytest.mark.slow
def test_a_checkpoint_in_a_folder_of_any_name_is_whole_or_refused(tmp_path: Path) -> None:
    """No character of a name is read as a pattern, and no save is lost."""
    for name in NAMES:
        if "/" in name:
            continue
        folder = tmp_path / name / "checkpoints"
        if set(name) & set(UNWRITABLE + UNREADABLE):
            with pytest.raises(UserError, match="give a folder"):
                save_losses(folder, 2.0, 1.0)
            assert not folder.exists()
        else:
            save_losses(folder, 2.0, 1.0)
            assert restored_step(folder) == 2, name


@pytest.mark.parametrize(
    "lost", ["_CHECKPOINT_METADATA", "state/manifest.ocdbt", "state/d", "state"]
)
def test_a_save_that_loses_a_file_never_replaces_a_checkpoint(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_losses(tmp_path, 1.0, 2.0)
    verify = saving.verify

    def lose(path: Path) -> None:
        file = path / lost
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        verify(path)

    monkeypatch.setattr(saving, "verify", lose)
    monkeypatch.setattr(saving, "DESCRIPTION_SECONDS", 0.0)
    error = pytest.raises(UserError, match=r"cannot be saved .* are intact")
    with error, checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 3, {"step": jnp.asarray(3)}, loss=0.0)
    assert checkpoint.steps(tmp_path) == [1, 2]
    assert restored_step(tmp_path) == 2


def test_a_save_that_orbax_spoils_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "[lr=1e-3]"
    monkeypatch.setattr(saving, "check_path", lambda folder, characters="": None)
    monkeypatch.setattr(saving, "DESCRIPTION_SECONDS", 0.2)
    with pytest.raises(UserError, match="cannot be saved"):
        save_losses(folder, 1.0)
    assert checkpoint.steps(folder) == []


def test_verify_latest_restores_the_latest_and_compares_it(tmp_path: Path) -> None:
    tree = make_tree()
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.verify_latest(checkpointer, tree)  # there is none
        for step in (1, 2):
            checkpoint.save(checkpointer, step, tree, loss=1.0)
        checkpoint.verify_latest(checkpointer, blank(tree))
        expect_other_numbers(tmp_path / "2")
        with pytest.raises(UserError, match="2 was saved, and is damaged: the numbers of state/pa"):
            checkpoint.verify_latest(checkpointer, tree)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_the_whole_path_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "[x]").mkdir()
    monkeypatch.chdir(tmp_path / "[x]")
    with pytest.raises(UserError, match="working directory"):
        save_losses(Path("checkpoints"), 1.0)
    save_losses(tmp_path / "good", 1.0, 2.0)
    shutil.copytree(tmp_path / "good", "moved")
    assert restored_step(Path("moved")) == 2  # reading alone is allowed there
    (tmp_path / "a\\b").mkdir()
    shutil.copytree(tmp_path / "good", tmp_path / "a\\b" / "moved")
    with pytest.raises(UserError, match=r"has \\ in its name"):
        restored_step(tmp_path / "a\\b" / "moved")


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_no_checkpoint_is_an_error_that_names_the_folder(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert checkpoint.steps(tmp_path / folder) == []
    with pytest.raises(UserError, match=f"no checkpoint .*{folder}"):
        restored_step(tmp_path / folder)


def test_an_unknown_step_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    save_losses(tmp_path, 2.0, 1.0)
    with pytest.raises(UserError, match=r"step 5 .* steps 1, 2"):
        restored_step(tmp_path, 5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bias": jnp.zeros(4), "kernel": jnp.zeros((2, 3))}, r"state/params/bias is .*3.* .*4"),
        ({"bias": jnp.zeros(3, jnp.int32), "kernel": jnp.zeros((2, 3))}, r"bias is float32.*int32"),
        ({"bias": jnp.zeros(3), "kernel": jnp.zeros((3, 2))}, r"state/params/kernel is"),
        ({"bias": jnp.zeros(3)}, r"state/params/kernel is only in the checkpoint"),
        (
            {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3)), "scale": jnp.zeros(3)},
            r"state/params/scale is only in the model",
        ),
        ({"bias": jax.random.key(0), "kernel": jnp.zeros((2, 3))}, r"state/params/bias is"),
    ],
    ids=["shape", "dtype", "transposed", "missing", "extra", "key"],
)
def test_a_misfit_is_an_error_that_names_the_leaf(
    params: dict[str, Any], message: str, tmp_path: Path
) -> None:
    saved = {"state": {"params": {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3))}}}
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 1, saved, loss=1.0)
    with pytest.raises(UserError, match=message):
        checkpoint.restore(tmp_path, {"state": {"params": params}})


# Damage.


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "least"), [("flip_bits", 95), ("cut_files", 8)])
def test_damage_is_never_taken_for_numbers(damage: str, least: int, tmp_path: Path) -> None:
    process = run_program("damage_checkpoint", damage, str(tmp_path))
    assert process.returncode == 0, process.stderr
    print(process.stdout)
    assert int(process.stdout) >= least


def test_damage_names_the_leaf_and_falls_back_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = save_two(tmp_path)
    expect_other_numbers(tmp_path / "2")
    assert_same_bits(checkpoint.restore(tmp_path, blank(newer)), older)
    said = capsys.readouterr().err
    assert re.search(r"2 is damaged: the numbers of state/\S+ are not those", said)
    for step in (2, "best"):
        with pytest.raises(UserError, match=r"2 is damaged: .* steps 1, 2"):
            checkpoint.restore(tmp_path, blank(newer), step)
    expect_other_numbers(tmp_path / "1")
    with pytest.raises(UserError, match=r"all checkpoints in .* are damaged"):
        checkpoint.restore(tmp_path, blank(newer))


def test_a_loss_that_was_changed_is_damage(tmp_path: Path) -> None:
    save_losses(tmp_path, 5.0, 1.0, 2.0)
    file = tmp_path / "2" / "_CHECKPOINT_METADATA"
    file.write_text(file.read_text().replace('"loss": 1.0', '"loss": 9.0'))
    like = {"step": jnp.asarray(0)}
    assert int(checkpoint.restore(tmp_path, like, "best")["step"]) == 3
    with pytest.raises(UserError, match="2 is damaged: its description"):
        checkpoint.restore(tmp_path, like, 2)


def test_a_copy_of_the_loss_that_was_changed_is_repaired(tmp_path: Path) -> None:
    save_losses(tmp_path, 5.0, 1.0, 2.0)
    (tmp_path / "2" / "metrics" / "metrics").write_text('{"loss": 9.0}')
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 4, {"step": jnp.asarray(4)}, loss=3.0)
    assert checkpoint.steps(tmp_path) == [2, 3, 4]


def test_the_best_is_the_one_of_lowest_loss(tmp_path: Path) -> None:
    save_losses(tmp_path, 5.0, 1.0, math.nan, 2.0)
    like = {"step": jnp.asarray(0)}
    assert int(checkpoint.restore(tmp_path, like, "best")["step"]) == 2


@pytest.mark.parametrize("inside", [None, "junk"])
def test_a_folder_that_is_only_named_like_a_step_is_skipped(
    inside: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_losses(tmp_path, 1.0, 2.0)
    (tmp_path / "9").mkdir()
    if inside:
        (tmp_path / "9" / inside).write_text("")
    assert checkpoint.steps(tmp_path) == [1, 2]
    assert restored_step(tmp_path) == 2
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        checkpoint.save(checkpointer, 3, {"step": jnp.asarray(3)}, loss=3.0)
    assert checkpoint.steps(tmp_path) == [1, 2, 3]
    said = capsys.readouterr().err
    assert (f"{tmp_path / '9'} (it holds no whole checkpoint) is set aside" in said) == bool(inside)
    assert not (tmp_path / "9").exists()


@pytest.mark.parametrize(
    ("there", "here", "advice"),
    [
        ("key<fry>", "key<rbg>", "JAX_DEFAULT_PRNG_IMPL, which is threefry2x32 now, the value"),
        ("float32", "float64", "JAX_ENABLE_X64, which is False now, the value"),
        ("float32", "float32", "the options"),
        ("float32", "bfloat16", "the options"),
    ],
)
def test_a_dtype_that_a_setting_of_jax_changed_names_the_setting(
    there: str, here: str, advice: str
) -> None:
    assert reading.what_decides({"dtype": there}, {"dtype": here}) == advice
