"""Runs that stop early: after which epoch, by which loss, and what is taken from them."""

import math
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxae
from jaxae import checkpoint, data, evaluate, runs, train
from jaxae.errors import UserError
from jaxae.evaluate.command import choose_step
from jaxae.runs.stopping import describe_stop
from jaxae.train import Examples
from support import small_run
from support.small_run import go, lines_of, summary_of

compiled_once, small_data = small_run.compiled_once, small_run.small_data

STEPS = 6  # in an epoch: 90 images in batches of 16, beside 10 for validation
VALIDATION = (9.0, 5.0, 4.0, 6.0, 5.0, 4.5, 1.0, 0.5)  # of each epoch
TEST = (8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
BEST, END = 3, 6  # with a patience of 3

stop_at = partial(go, epochs=8, validation=10, patience=3)


def losses(*values: float | None) -> list[dict[str, Any]]:
    """Returns records of epochs with these validation losses; None was not tested."""
    return [
        {"epoch": epoch} | ({} if v is None else {"test_loss": -v, "validation_loss": v})
        for epoch, v in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("values", "patience", "expected"),
    [
        ((), 1, None),
        ((3.0,), 1, None),
        ((3.0, 3.0), 1, "after epoch 2: no lower validation loss for 1 tested epoch; the best is"),
        ((3.0, 4.0, 2.0), 2, None),
        ((3.0, 4.0, 3.5), 2, "after epoch 3: .* for 2 tested epochs; the best is epoch 1, whose"),
        ((3.0, None, 4.0, None), 1, None),  # the last one was not tested
        ((3.0, None, 4.0, None, 5.0), 2, "after epoch 5: .* for 2 tested epochs"),
        ((3.0, math.nan, math.inf), 2, "the best is epoch 1"),
        ((math.nan, math.nan), 2, "no finite validation loss for 2 tested epochs; resume with"),
        ((3.0, 4.0, 5.0), None, None),
    ],
)
def test_a_run_stops_by_its_records(
    values: tuple[float | None, ...], patience: int | None, expected: str | None
) -> None:
    said = describe_stop(losses(*values), patience)
    if expected is None:
        assert said is None
    else:
        assert said is not None
        assert re.search(expected, said), said


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 4))
def test_the_first_stop_is_that_of_a_loop_with_a_counter(values: list[int], patience: int) -> None:
    lowest, waited, expected = math.inf, 0, None
    for epoch, value in enumerate(values, 1):
        lowest, waited = (value, 0) if value < lowest else (lowest, waited + 1)
        if waited == patience:
            expected = epoch
            break
    lines = losses(*map(float, values))
    stops = [n for n in range(len(lines) + 1) if describe_stop(lines[:n], patience) is not None]
    assert (stops[0] if stops else None) == expected


def test_without_validation_the_test_loss_stops_a_run() -> None:
    lines = [{"epoch": 1, "test_loss": 1.0}, {"epoch": 2, "test_loss": 2.0}]
    said = describe_stop(lines, 1)
    assert said is not None
    assert "no lower test loss for 1 tested epoch;" in said


def controlled(recipe: runs.Recipe) -> runs.Recipe:
    """Returns a recipe whose losses are those of the tables, whatever the network learns.

    The network counts its steps, and labels tell validation and test images apart.
    """
    images = data.load("mnist").train.images[:10]
    validation, test = (Examples(images, np.full(10, label, np.int32)) for label in (1, 0))
    tables = jnp.array([[10.0, *TEST], [10.0, *VALIDATION]])  # first of the untrained network

    def objective(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
        terms = recipe.objective(variables, key, batch)
        counted = {"count": {"steps": variables["count"]["steps"] + 1}}
        return train.Terms(terms.loss, {}, counted)

    def test_objective(
        variables: train.Variables, key: jax.Array, batch: train.Batch
    ) -> train.Terms:
        assert batch.labels is not None
        epoch = variables["count"]["steps"] // STEPS
        return train.Terms(tables[batch.labels, jnp.full_like(batch.labels, epoch)], {})

    return replace(
        recipe,
        objective=objective,
        test_objective=test_objective,
        collections={"count": {"steps": jnp.zeros((), jnp.int32)}},
        validation_examples=validation,
        test_examples=test,
    )


stop = partial(stop_at, change=controlled)


@pytest.fixture(scope="module")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    epochs = stop(out=folder)
    assert [(epoch.number, epoch.last) for epoch in epochs] == [
        (number, number == END) for number in range(1, END + 1)
    ]
    return folder


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """A run of six of eight epochs, whose best is the third."""
    return shutil.copytree(_stopped, tmp_path / "stopped")


def assert_same_run(folder: Path, expected: Path) -> None:
    for line, other in zip(lines_of(folder), lines_of(expected), strict=True):
        assert line.keys() == other.keys()
        for name in line.keys() - {"dataset"}:
            np.testing.assert_allclose(line[name], other[name], rtol=1e-4)
    names = ("epoch", "best_epoch", "best_validation_loss", "best_test_loss", "best_chosen_on")
    summary, whole = summary_of(folder), summary_of(expected)
    assert [summary[name] for name in names] == [whole[name] for name in names]
    assert summary["stopped_early"] is whole["stopped_early"] is True


@pytest.mark.slow
def test_a_run_stops_where_its_validation_loss_says(stopped: Path) -> None:
    lines = lines_of(stopped)
    assert [line["validation_loss"] for line in lines] == list(VALIDATION[:END])
    assert [line["test_loss"] for line in lines] == list(TEST[:END])
    summary = runs.read_summary(stopped)
    assert (summary["best_epoch"], summary["best_validation_loss"]) == (BEST, VALIDATION[BEST - 1])
    assert summary["best_test_loss"] == TEST[BEST - 1]
    assert (summary["epoch"], summary["best_chosen_on"]) == (END, "validation")
    assert summary["stopped_early"] is True
    assert (stopped / "pictures/curves.png").exists()
    kept = [STEPS * epoch for epoch in (BEST, END - 1, END)]
    assert checkpoint.steps(stopped / "checkpoints") == kept


@pytest.mark.slow
def test_the_terminal_shows_the_losses_and_says_why_it_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(out=tmp_path / "run", replicas=2)
    said = capsys.readouterr()
    assert "validation loss 4.5 ± 0  test loss 3 ± 0 " in said.out
    assert said.out.count("stopped after epoch 6: no lower validation loss for 3 tested ") == 1
    assert "the best is epoch 3, whose checkpoint is kept" in said.out
    assert "warning" not in said.err
    (*_, line) = lines_of(tmp_path / "run")
    assert line["validation_loss_replicas"] == [4.5, 4.5]


@pytest.mark.slow
def test_without_validation_a_warning_says_once_what_chooses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def raised(recipe: runs.Recipe) -> runs.Recipe:
        """The test losses are those of the validation images of `controlled`."""
        recipe = controlled(recipe)
        return replace(recipe, test_examples=recipe.validation_examples, validation_examples=None)

    # Of 90 images, so that the epochs have as many steps.
    epochs = go(out=tmp_path / "run", epochs=8, patience=3, batch_size=17, change=raised)
    said = capsys.readouterr()
    assert said.err.count("warning: --patience without --validation") == 1
    assert epochs[-1].number == END
    assert "no lower test loss for 3 tested epochs" in said.out
    summary = summary_of(tmp_path / "run")
    assert (summary["best_epoch"], summary["best_chosen_on"]) == (BEST, "test")
    assert "best_validation_loss" not in summary


def step_of(trained: Any) -> int:
    return int(trained.variables["count"]["steps"])


@pytest.mark.slow
def test_the_best_checkpoint_is_taken_unless_another_one_is_named(
    stopped: Path, tmp_path: Path
) -> None:
    best, end = STEPS * BEST, STEPS * END
    assert step_of(runs.load(stopped)) == step_of(jaxae.load(stopped)) == best
    assert jaxae.load(stopped).step == best
    assert step_of(runs.load(stopped, end)) == step_of(jaxae.load(stopped, end)) == end
    options = evaluate.Options(stopped)
    assert choose_step(options) == best
    assert (
        choose_step(replace(options, epoch=END)) == choose_step(replace(options, step=end)) == end
    )
    cases: list[tuple[dict[str, Any], int]] = [({}, BEST), ({"initial_epoch": END}, END)]
    for chosen, epoch in cases:
        (loaded,) = stop(load=stopped, out=tmp_path / str(epoch), **chosen)
        assert (loaded.number, loaded.last) == (epoch, True)
        summary = summary_of(tmp_path / str(epoch))
        assert (summary["epoch"], summary["validation_loss"]) == (epoch, VALIDATION[epoch - 1])
        assert "stopped_early" not in summary


@pytest.mark.slow
def test_of_equal_losses_the_first_is_the_best_and_is_kept(tmp_path: Path) -> None:
    def constant(recipe: runs.Recipe) -> runs.Recipe:
        def test_objective(
            variables: train.Variables, key: jax.Array, batch: train.Batch
        ) -> train.Terms:
            return train.Terms(jnp.ones(len(batch.images)), {})

        return replace(recipe, test_objective=test_objective)

    folder = tmp_path / "run"
    assert stop_at(out=folder, patience=4, change=constant)[-1].number == 5
    assert summary_of(folder)["best_epoch"] == 1
    assert jaxae.load(folder).step == STEPS
    assert checkpoint.steps(folder / "checkpoints") == [STEPS, 4 * STEPS, 5 * STEPS]


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "steps"), [(1, 3), (4, 6), (5, 3), (6, 3)])
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(
    epoch: int, steps: int, stopped: Path, tmp_path: Path
) -> None:
    def interrupt(chunk: train.Progress) -> None:
        if (chunk.epoch, chunk.steps) == (epoch, steps):
            raise KeyboardInterrupt

    folder = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        stop(out=folder, on_chunk=interrupt)
    assert stop(resume=folder)[-1].last
    assert_same_run(folder, stopped)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["the summary", "the summary and the last checkpoint"])
def test_a_run_that_is_killed_before_its_summary_ends_when_it_is_resumed(
    lost: str, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "killed")
    (folder / "summary.json").unlink()
    if lost != "the summary":
        shutil.rmtree(folder / "checkpoints" / str(STEPS * END))
    chunks: list[train.Progress] = []
    epochs = stop(resume=folder, on_chunk=chunks.append)
    numbers = [END] if lost == "the summary" else [END - 1, END]
    assert [epoch.number for epoch in epochs] == numbers
    assert bool(chunks) == (lost != "the summary")
    assert capsys.readouterr().out.count("stopped after epoch 6: no lower validation loss") == 1
    assert_same_run(folder, stopped)


@pytest.mark.slow
def test_a_stopped_run_stays_stopped_unless_it_may_wait_longer(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: list[dict[str, Any]] = [{"epochs": 7}, {"patience": 1}]
    for changed in changes:
        assert [epoch.number for epoch in stop(resume=stopped, **changed)] == [END]
        assert "no lower validation loss for 3 tested epochs" in capsys.readouterr().out
    assert summary_of(stopped)["stopped_early"] is True
    # The best loss is now that of the seventh epoch, after which the run can wait again.
    epochs = stop(resume=stopped, patience=4)
    assert [epoch.number for epoch in epochs] == [6, 7, 8]
    summary = summary_of(stopped)
    assert "stopped_early" not in summary
    assert (summary["best_epoch"], summary["epoch"]) == (8, 8)
    assert jaxae.load(stopped).step == 8 * STEPS


@pytest.mark.slow
def test_a_stopped_run_without_patience_trains_to_its_end(stopped: Path) -> None:
    assert [epoch.number for epoch in stop(resume=stopped, patience=None)] == [6, 7, 8]
    assert "stopped_early" not in summary_of(stopped)


@pytest.mark.slow
def test_a_stopped_run_goes_back_to_an_earlier_epoch(stopped: Path) -> None:
    epochs = stop(resume=stopped, initial_epoch=BEST)
    assert [epoch.number for epoch in epochs] == [3, 4, 5, 6]
    assert epochs[-1].last


@pytest.mark.slow
def test_epochs_without_a_test_do_not_count(tmp_path: Path) -> None:
    epochs = stop(out=tmp_path / "run", evaluate_every=2, patience=1)
    assert epochs[-1].number == 4  # tested after the second and the fourth, which is worse
    assert [line["epoch"] for line in lines_of(tmp_path / "run") if "test_loss" in line] == [2, 4]


@pytest.mark.slow
def test_a_run_is_resumed_with_as_many_validation_images(stopped: Path) -> None:
    for data_of_run in (data.load("mnist"), data.hold_out_validation(data.load("mnist"), 10)):
        config = runs.read_config(stopped)
        found = runs.load_dataset(stopped, config, given=data_of_run, data_dir=None, sources=None)
        assert len(found.train.images) == config.dataset.train_images == 90
        assert found.validation_images == config.dataset.validation_images == 10
    with pytest.raises(UserError, match="20 images of mnist are held out already"):
        runs.load_dataset(
            stopped,
            runs.read_config(stopped),
            given=data.hold_out_validation(data.load("mnist"), 20),
            data_dir=None,
            sources=None,
        )


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_validation_numbers_are_the_same_measurements_of_other_images(
    replicas: int, tmp_path: Path
) -> None:
    (epoch,) = go(out=tmp_path / "run", epochs=1, validation=20, replicas=replicas)
    (line,) = lines_of(tmp_path / "run")
    names = {name.removeprefix("test_") for name in line if name.startswith("test_")}
    assert {f"validation_{name}" for name in names} <= line.keys()
    divided = data.hold_out_validation(data.load("mnist"), 20)
    assert divided.validation is not None
    images = divided.validation.images
    errors = (epoch.trained.reconstruct(images) - images / 255) ** 2
    measured = line.get("validation_mse_replicas", [line["validation_mse"]])
    assert measured[0] == pytest.approx(errors.mean(), rel=1e-5)
    assert line["validation_mse"] != line["test_mse"]


@pytest.mark.slow
def test_a_run_trains_on_what_is_left_as_if_that_was_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.load("mnist")
    (epoch,) = go(out=tmp_path / "divided", epochs=1, validation=20)
    left = replace(data.hold_out_validation(whole, 20), validation=None)
    monkeypatch.setattr(data, "load", lambda name, **places: left)
    (expected,) = go(out=tmp_path / "left", epochs=1)
    jax.tree.map(np.testing.assert_array_equal, epoch.state.params, expected.state.params)
    assert train.steps_done(epoch.state) == 5
