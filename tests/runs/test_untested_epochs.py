"""Runs that are tested after some epochs only: their records, checkpoints and resumption."""

import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxae import checkpoint, runs
from jaxae.checkpoint.reading import read_metadata
from jaxae.evaluate.pictures import make_charts
from jaxae.train import Progress
from support import small_run
from support.small_run import STEPS_PER_EPOCH, go, lines_of, summary_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data


def epochs_tested(folder: Path) -> list[int]:
    return [line["epoch"] for line in lines_of(folder) if "test_loss" in line]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five epochs that is tested after the second, the fourth and the last."""
    folder = tmp_path_factory.mktemp("whole")
    go(out=folder, epochs=5, evaluate_every=2, keep_all=True)
    return folder


def test_every_other_epoch_and_the_last_are_tested_with_the_same_numbers(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(out=tmp_path, epochs=5)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(printed) == 5
    assert epochs_tested(whole) == [2, 4, 5]
    for line, expected in zip(lines_of(whole), lines_of(tmp_path), strict=True):
        assert line == {name: expected[name] for name in line}
    for name in ("test_loss", "train_loss", "epoch"):
        assert summary_of(whole)[name] == summary_of(tmp_path)[name]


def test_an_epoch_without_a_test_prints_its_training_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(out=tmp_path, epochs=2, evaluate_every=2)
    first, second = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")
    ]
    assert "train loss" in first
    assert "test" not in first
    assert "test loss" in second
    assert "test MSE" in second


def test_the_best_checkpoint_is_one_that_was_tested(whole: Path) -> None:
    losses = {line["epoch"]: line["test_loss"] for line in lines_of(whole) if "test_loss" in line}
    best = min(losses, key=losses.__getitem__)
    folder = whole / "checkpoints"
    assert checkpoint.best_step(folder, checkpoint.steps(folder)) == best * STEPS_PER_EPOCH
    assert summary_of(whole)["best_epoch"] == best


def test_before_the_first_test_the_latest_checkpoint_is_the_best(tmp_path: Path) -> None:
    go(out=tmp_path, epochs=9, evaluate_every=9, stop_after=4)
    folder = tmp_path / "checkpoints"
    kept = [epoch * STEPS_PER_EPOCH for epoch in (3, 4)]
    assert checkpoint.steps(folder) == kept
    assert checkpoint.best_step(folder, kept) == kept[-1]


@pytest.mark.parametrize(("epoch", "steps"), [(1, 3), (1, 7), (3, 4), (4, 7), (5, 2)])
def test_interrupted_then_resumed_equals_uninterrupted(
    epoch: int, steps: int, whole: Path, tmp_path: Path
) -> None:
    def interrupt(chunk: Progress) -> None:
        if (chunk.epoch, chunk.steps) == (epoch, steps):
            raise KeyboardInterrupt

    folder = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        go(out=folder, epochs=5, evaluate_every=2, on_chunk=interrupt)
    go(resume=folder, epochs=5, evaluate_every=2)
    assert epochs_tested(folder) == [2, 4, 5]
    for line, expected in zip(lines_of(folder), lines_of(whole), strict=True):
        assert line.keys() == expected.keys()
        for name in line.keys() - {"dataset"}:
            np.testing.assert_allclose(line[name], expected[name], rtol=1e-5)


def test_an_epoch_that_becomes_the_last_is_tested_when_the_run_is_resumed(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "part"
    go(out=folder, epochs=5, evaluate_every=4, stop_after=2)
    assert epochs_tested(folder) == []
    (epoch,) = go(resume=folder, epochs=2, evaluate_every=4)
    assert epoch.last
    assert [line["epoch"] for line in lines_of(folder)] == [1, 2]
    assert epochs_tested(folder) == [2]
    expected = lines_of(whole)[1]["test_loss"]
    assert lines_of(folder)[-1]["test_loss"] == pytest.approx(expected, rel=1e-5)
    assert summary_of(folder)["best_epoch"] == 2
    saved = folder / "checkpoints" / str(2 * STEPS_PER_EPOCH)
    assert read_metadata(saved)["loss"] == pytest.approx(expected, rel=1e-5)
    epochs = go(resume=folder, epochs=5, evaluate_every=4)  # it trains on as before
    assert [each.number for each in epochs] == [2, 3, 4, 5]
    last = go(load=whole, out=tmp_path / "loaded", epochs=5)[-1]
    for leaf, other in zip(
        jax.tree.leaves(epochs[-1].variables), jax.tree.leaves(last.variables), strict=True
    ):
        np.testing.assert_allclose(leaf, other, rtol=1e-5, atol=1e-6)


def test_replicas_are_tested_in_the_same_epochs(tmp_path: Path) -> None:
    go(out=tmp_path, epochs=3, evaluate_every=2, replicas=2)
    assert epochs_tested(tmp_path) == [2, 3]
    lines = runs.read_records(tmp_path)
    losses = runs.curve(lines, "test_loss")
    assert losses.shape == (2, 3)
    np.testing.assert_array_equal(np.isnan(losses), [[True, False, False]] * 2)


def test_charts_show_what_was_tested_even_if_the_last_line_was_not(
    whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "killed")
    kept = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)[:3]
    (folder / "metrics.jsonl").write_text("".join(kept))
    chart = make_charts(runs.read_records(folder))[0]
    assert chart.title == "Loss"
    assert np.isfinite(chart.curves["training"]).all()
    np.testing.assert_array_equal(np.isfinite(chart.curves["test"]), [[False, True, False]])
    untested = make_charts(runs.read_records(folder)[:1])
    assert [each.title for each in untested] == ["Loss"]
    assert untested[0].curves.keys() == {"training"}
    assert math.isfinite(untested[0].curves["training"].item())
