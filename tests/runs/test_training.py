"""Recorded training runs: interrupted and resumed, repeated, loaded."""

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from jaxae import checkpoint, data, runs, train
from jaxae.errors import UserError
from support import small_run
from support.small_run import STEPS_PER_EPOCH, TIMES, go, lines_of, summary_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data


def assert_close(tree: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Asserts equality up to rounding, because the order of a sum may depend on free threads."""
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), tree, expected)


def assert_same_records(folder: Path, expected: Path) -> None:
    """Asserts that two runs recorded the same lines, up to rounding."""
    lines, expected_lines = lines_of(folder), lines_of(expected)
    assert [line["epoch"] for line in lines] == [line["epoch"] for line in expected_lines]
    for line, other in zip(lines, expected_lines, strict=True):
        assert line.pop("dataset") == other.pop("dataset")
        assert line.keys() == other.keys()
        assert_close(line, other)


def params_and_optimizer(epoch: runs.Epoch) -> Any:
    return {"params": epoch.state.params, "optimizer": epoch.state.optimizer_state}


@dataclass(frozen=True)
class Finished:
    folder: Path
    epochs: list[runs.Epoch]

    @property
    def last(self) -> runs.Epoch:
        return self.epochs[-1]


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    return Finished(folder, go(out=folder, keep_all=True))


@pytest.fixture
def whole(_finished: Finished, tmp_path: Path) -> Finished:
    """An uninterrupted run of three epochs, with a checkpoint of each."""
    return Finished(shutil.copytree(_finished.folder, tmp_path / "whole"), _finished.epochs)


def test_a_run_writes_its_records(whole: Finished) -> None:
    epochs, folder = whole.epochs, whole.folder
    assert [(epoch.number, epoch.last) for epoch in epochs] == [(1, False), (2, False), (3, True)]
    assert train.steps_done(epochs[-1].state) == 3 * STEPS_PER_EPOCH
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "metrics.jsonl", "summary.json", "pictures", "checkpoints")
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert {"train_loss", "test_loss", "test_mse", *TIMES} <= lines[0].keys()
    assert lines[2]["test_loss"] < lines[0]["test_loss"]
    assert lines[0]["seconds"] * lines[0]["images_per_second"] == pytest.approx(100)
    summary = summary_of(folder)
    assert summary.items() >= lines[-1].items()
    assert summary["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(epochs[-1].variables))
    assert checkpoint.steps(folder / "checkpoints")[-1] == 3 * STEPS_PER_EPOCH


def test_recorded_test_numbers_match_the_reconstructions(whole: Finished) -> None:
    images = data.load("mnist").test.images
    errors = (whole.last.trained.reconstruct(images) - images / 255) ** 2
    assert lines_of(whole.folder)[-1]["test_mse"] == pytest.approx(errors.mean(), rel=1e-5)
    codes = whole.last.trained.encode(images)
    assert codes.shape == (30, 3)
    np.testing.assert_allclose(
        whole.last.trained.decode(codes), whole.last.trained.reconstruct(images), atol=1e-6
    )


def test_resumed_equals_uninterrupted(whole: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    go(out=folder, epochs=1)
    epochs = go(resume=folder, epochs=3)
    assert [(epoch.number, epoch.last) for epoch in epochs] == [(1, False), (2, False), (3, True)]
    assert_close(params_and_optimizer(epochs[-1]), params_and_optimizer(whole.last))
    assert_same_records(folder, whole.folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["run"]["epochs"] == 3
    assert len(config["resumed"]) == 1


@pytest.mark.parametrize(("epoch", "steps"), [(1, 3), (1, 7), (2, 5), (2, 7), (3, 4)])
def test_interrupted_within_an_epoch_then_resumed_equals_uninterrupted(
    epoch: int, steps: int, whole: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(progress: train.Progress) -> None:
        if (progress.epoch, progress.steps) == (epoch, steps):
            raise KeyboardInterrupt

    folder = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        go(out=folder, on_chunk=interrupt)
    assert f"--resume {folder}" in capsys.readouterr().err
    assert checkpoint.steps(folder / "checkpoints")
    if epoch > 1:
        with pytest.raises(UserError, match=f"has reached epoch {epoch}; give {epoch} or more"):
            go(resume=folder, epochs=epoch - 1)
    epochs = go(resume=folder)
    assert epochs[-1].last
    assert_close(params_and_optimizer(epochs[-1]), params_and_optimizer(whole.last))
    assert_same_records(folder, whole.folder)


def test_interrupted_while_drawing_then_resumed_equals_uninterrupted(
    whole: Finished, tmp_path: Path
) -> None:
    def interrupt(epoch: runs.Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        go(out=folder, on_epoch=interrupt)
    assert [epoch.number for epoch in go(resume=folder)] == [2, 3]  # the second is drawn again
    assert_same_records(folder, whole.folder)


def test_resuming_a_finished_run_changes_nothing(whole: Finished) -> None:
    before, lines = summary_of(whole.folder), lines_of(whole.folder)
    epochs = go(resume=whole.folder, keep_all=True)
    assert [(epoch.number, epoch.last) for epoch in epochs] == [(3, True)]
    assert_close(epochs[0].state.params, whole.last.state.params)
    assert lines_of(whole.folder) == lines
    assert summary_of(whole.folder) == before


@pytest.mark.parametrize("epochs", [1, 3])
def test_initial_epoch_goes_back_and_drops_what_came_later(
    epochs: int, whole: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    test_loss = lines_of(whole.folder)[epochs - 1]["test_loss"]
    ended = []

    def note_end(epoch: runs.Epoch) -> None:
        ended.append((epoch.number, (whole.folder / "summary.json").exists()))

    go(resume=whole.folder, keep_all=True, initial_epoch=1, epochs=epochs, on_epoch=note_end)
    assert ended == [(number, number == epochs) for number in range(1, epochs + 1)]
    dropped = ", ".join(str(STEPS_PER_EPOCH * epoch) for epoch in (2, 3))
    assert f"checkpoints of steps {dropped} are removed\n" in capsys.readouterr().out
    assert [line["epoch"] for line in lines_of(whole.folder)] == list(range(1, epochs + 1))
    assert lines_of(whole.folder)[-1]["test_loss"] == pytest.approx(test_loss, rel=1e-5)
    steps = [STEPS_PER_EPOCH * epoch for epoch in range(1, epochs + 1)]
    assert checkpoint.steps(whole.folder / "checkpoints") == steps
    assert summary_of(whole.folder)["epoch"] == epochs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_epoch": 9, "epochs": 12}, r"--initial-epoch 9: .* epochs 1, 2, 3"),
        ({"epochs": 2}, r"--epochs 2: .* has reached epoch 3; give 3 or more"),
        ({"initial_epoch": 2, "epochs": 1}, r"--epochs 1"),
        ({"batch_size": 101}, r"--batch-size 101"),
    ],
)
def test_a_failed_resume_leaves_the_run_as_it_was(
    options: dict[str, Any], message: str, whole: Finished
) -> None:
    before = (whole.folder / "config.json").read_text()
    with pytest.raises(UserError, match=message):
        go(resume=whole.folder, keep_all=True, **options)
    assert (whole.folder / "config.json").read_text() == before
    assert [line["epoch"] for line in lines_of(whole.folder)] == [1, 2, 3]
    assert checkpoint.steps(whole.folder / "checkpoints") == [7, 14, 21]


def test_another_experiments_run_is_not_resumed(whole: Finished) -> None:
    config = whole.folder / "config.json"
    config.write_text(config.read_text().replace('"small"', '"large"'))
    before = config.read_text()
    with pytest.raises(UserError, match="large"):
        go(resume=whole.folder)
    assert config.read_text() == before


def test_resumed_replicas_equal_separate_runs(tmp_path: Path) -> None:
    go(out=tmp_path / "both", replicas=2, seed=3, epochs=1)
    *_, together = go(resume=tmp_path / "both", replicas=2, seed=3, epochs=2)
    apart = [go(out=tmp_path / str(seed), seed=seed, epochs=2)[-1] for seed in (3, 4)]
    for index, epoch in enumerate(apart):
        replica = jax.tree.map(lambda leaf, i=index: leaf[i], together.state.params)
        assert_close(replica, epoch.state.params, rtol=1e-3, atol=1e-4)
    line = lines_of(tmp_path / "both")[-1]
    for name in ("train_loss", "test_loss", "test_mse"):
        values = [epoch.record[name] for epoch in apart]
        assert line[f"{name}_replicas"] == pytest.approx(values, rel=1e-4)
        assert line[name] == pytest.approx(np.mean(values), rel=1e-4)
        assert line[f"{name}_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-2)
    assert apart[0].record["test_loss"] != apart[1].record["test_loss"]
    images = data.load("mnist").test.images
    np.testing.assert_allclose(
        together.trained.reconstruct(images), apart[0].trained.reconstruct(images), atol=1e-4
    )


def test_load_trains_nothing_and_writes_test_numbers(whole: Finished, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    called = []
    folder = tmp_path / "loaded"
    (epoch,) = go(load=whole.folder, out=folder, on_chunk=called.append)
    assert (epoch.number, epoch.last, called) == (3, True, [])
    assert_close(epoch.state.params, whole.last.state.params)
    names = ("epoch", "test_loss", "test_mse", "test_psnr", "parameters")
    summary, expected = summary_of(folder), summary_of(whole.folder)
    assert [summary[n] for n in names] == pytest.approx([expected[n] for n in names], rel=1e-5)
    assert not (folder / "metrics.jsonl").exists()
    assert checkpoint.steps(folder / "checkpoints") == []
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")} == before


def test_load_takes_an_earlier_epoch(whole: Finished, tmp_path: Path) -> None:
    (epoch,) = go(load=whole.folder, initial_epoch=2, out=tmp_path / "loaded")
    assert epoch.number == 2
    recorded = lines_of(whole.folder)[1]["test_loss"]
    assert summary_of(tmp_path / "loaded")["test_loss"] == pytest.approx(recorded, rel=1e-5)


def test_the_best_checkpoint_is_kept(tmp_path: Path) -> None:
    """The learning rate ruins the third epoch and all later ones."""

    def worsen(recipe: runs.Recipe) -> runs.Recipe:
        rate = optax.piecewise_constant_schedule(1e-2, {2 * STEPS_PER_EPOCH: 300.0})
        return dataclasses.replace(recipe, optimizer=optax.adam(rate))

    go(out=tmp_path / "run", epochs=5, change=worsen)
    assert summary_of(tmp_path / "run")["best_epoch"] == 2
    steps = [STEPS_PER_EPOCH * epoch for epoch in (2, 4, 5)]
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == steps


def test_leaving_the_loop_early_saves_the_epoch_and_says_how_to_go_on(
    whole: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "part"
    go(out=folder, stop_after=2)
    *_, said, command = capsys.readouterr().out.splitlines()
    assert said == f"stopped after epoch 2 of 3, which is saved in {folder}: resume with"
    assert command.endswith(f" --resume {folder}")
    assert not (folder / "summary.json").exists()
    assert not (folder / ".lock").exists()
    assert checkpoint.steps(folder / "checkpoints") == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]
    assert [epoch.number for epoch in go(resume=folder)] == [2, 3]
    assert capsys.readouterr().out.splitlines()[-1].startswith("done: pictures and summary.json")
    assert_same_records(folder, whole.folder)


def test_a_run_without_a_remainder_takes_fewer_steps(tmp_path: Path) -> None:
    (epoch,) = go(out=tmp_path / "run", epochs=1, drop_remainder=True)
    assert train.steps_done(epoch.state) == 6
    (line,) = runs.read_records(tmp_path / "run")
    assert line["seconds"] * line["images_per_second"] == pytest.approx(96)
    assert runs.read_config(tmp_path / "run").steps_per_epoch == 6


def test_a_run_trains_in_another_thread(whole: Finished, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        epochs = pool.submit(go, out=tmp_path / "run").result()
    assert_close(params_and_optimizer(epochs[-1]), params_and_optimizer(whole.last))
