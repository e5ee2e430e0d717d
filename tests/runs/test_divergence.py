"""Non-finite steps: each is discarded and counted, and too many in a row are an error."""

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import checkpoint, runs, train
from jaxae.errors import UserError
from jaxae.runs.divergence import describe_divergence
from jaxae.train import Batch, Examples, epoch_order
from report_page import describe_best
from support import small_run
from support.small_run import go, lines_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data

SIZE, BATCH = 20, 5


def mean_image(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    """Squared distance from the one parameter, an image."""
    del key
    error = jnp.square(variables["params"]["mean"] - batch.images).sum((1, 2, 3))
    count = variables["statistics"]["count"] + 1
    return train.Terms(error, {"error": error}, {"statistics": {"count": count}})


def first_state(optimizer: optax.GradientTransformation) -> train.State:
    variables = {
        "params": {"mean": jnp.zeros((1, 2, 2, 1))},
        "statistics": {"count": jnp.zeros(())},
    }
    return train.init(jax.random.key(0), variables, optimizer)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_step_that_is_not_finite_changes_nothing_but_the_counts(value: float) -> None:
    """It trains as if the epoch lacked that batch; 1e30 is finite, and its square is not."""
    images = np.random.default_rng(0).random((SIZE, 2, 2, 1), np.float32)
    optimizer = optax.adam(1e-2)
    state = first_state(optimizer)
    (bad,) = epoch_order(state.key, 0, SIZE, BATCH)[2, 3:4]
    broken = images.copy()
    broken[bad, 0, 1, 0] = value
    epoch = train.make_epoch(mean_image, optimizer, BATCH)
    trained, measured = epoch(state, Examples(broken))

    step = train.make_step(mean_image, optimizer)
    expected, losses = state, []
    for index, indices in enumerate(epoch_order(state.key, 0, SIZE, BATCH)):
        if index != 2:
            batch = Batch(jnp.asarray(images[indices]), None, None, jnp.ones(BATCH))
            expected, metrics = step(expected, batch)
            losses.append(metrics["loss"])
    assert measured["skipped_steps"] == 1
    assert (trained.step, trained.skipped) == (4, 0)
    assert trained.collections["statistics"]["count"] == 3
    np.testing.assert_allclose(trained.params["mean"], expected.params["mean"], rtol=1e-6)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-6),
        trained.optimizer_state,
        expected.optimizer_state,
    )
    for name in ("loss", "error"):
        np.testing.assert_allclose(measured[name], np.mean(losses), rtol=1e-6)


def test_a_finite_loss_with_a_non_finite_gradient_is_left_out() -> None:
    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        return train.Terms(jnp.sqrt(variables["params"]["x"]))  # infinitely steep at 0

    state = train.init(jax.random.key(0), {"params": {"x": jnp.zeros(())}}, optax.sgd(1.0))
    batch = Batch(jnp.zeros((2, 1, 1, 1)), None, None, jnp.ones(2))
    step = train.make_step(objective, optax.sgd(1.0))
    for count in (1, 2):
        state, metrics = step(state, batch)
        assert (state.params["x"], state.step, state.skipped) == (0, count, count)
        assert metrics["skipped_steps"] == 1


def test_one_replica_that_fails_does_not_touch_the_others() -> None:
    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        x = variables["params"]["x"]
        return train.Terms(jnp.square(x - 1) + jnp.where(x > 10, jnp.nan, 0))

    optimizer = optax.sgd(0.1)
    starts = [train.init(jax.random.key(0), {"params": {"x": x}}, optimizer) for x in (0.0, 20.0)]
    states = jax.tree.map(lambda *leaves: jnp.stack(list(map(jnp.asarray, leaves))), *starts)
    fit = train.fit(
        states,
        Examples(np.zeros((4, 1, 1, 1), np.float32)),
        objective=objective,
        optimizer=optimizer,
        epochs=1,
        batch_size=1,
    )
    (end,) = fit
    np.testing.assert_array_equal(end.state.skipped, [0, 4])
    np.testing.assert_array_equal(end.metrics["skipped_steps"], [0, 4])
    np.testing.assert_allclose(end.state.params["x"], [1 - 0.8**4, 20])
    assert np.isfinite(end.metrics["loss"][0])
    assert np.isnan(end.metrics["loss"][1])


def explode(recipe: runs.Recipe) -> runs.Recipe:
    """Makes the ninth step so large that a logarithm of a negative number follows."""

    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        nothing = 0 * jnp.log(
            100 - jnp.abs(variables["params"]["decoder"]["Dense_1"]["bias"]).max()
        )
        terms = recipe.objective(variables, key, batch)
        return replace(terms, loss=terms.loss + nothing)

    rate = optax.piecewise_constant_schedule(1e-2, {8: 1e5})
    return replace(recipe, objective=objective, optimizer=optax.adam(rate))


def test_several_in_a_row_stop_training_with_an_error_that_names_the_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"from epoch 2, step 3 on.*--learning-rate"):
        go(out=tmp_path / "run", epochs=9, change=explode)
    assert [line["epoch"] for line in lines_of(tmp_path / "run")] == [1, 2]
    assert [line["train_skipped_steps"] for line in lines_of(tmp_path / "run")] == [0, 5]
    # The last epoch that was trained is the last that was saved.
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [7, 14]


def test_debug_stops_at_the_first_and_names_the_operation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"in 1 step, from epoch 2, step 3 on.* primitive: log"):
        go(out=tmp_path / "run", epochs=9, change=explode, debug=True)


def test_the_error_names_a_learning_rate_that_is_too_high(tmp_path: Path) -> None:
    def change(recipe: runs.Recipe) -> runs.Recipe:
        return replace(recipe, optimizer=optax.adam(1e38))

    with pytest.raises(UserError, match=r"epoch 1, step 2 on.* learning rate that is too high"):
        go(out=tmp_path / "run", epochs=9, change=change)


def test_a_loss_that_is_not_finite_is_null_in_files_and_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training continues, because the parameters are finite: only the test loss is not."""

    def change(recipe: runs.Recipe) -> runs.Recipe:
        def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
            terms = recipe.objective(variables, key, batch)
            return replace(terms, loss=terms.loss + jnp.inf)

        return replace(recipe, test_objective=objective)

    folder = tmp_path / "run"
    go(out=folder, epochs=2, change=change)
    said = capsys.readouterr().err
    assert said.count("warning: the loss of") == 1
    assert "not finite in epoch 1, 2" in said
    for name in ("metrics.jsonl", "summary.json"):
        text = (folder / name).read_text()
        assert '"test_loss": null' in text
        assert not re.search("NaN|Infinity", text)
    assert [math.isnan(line["test_loss"]) for line in runs.read_records(folder)] == [True] * 2
    summary = runs.read_summary(folder)
    assert math.isnan(summary["best_test_loss"])
    assert describe_best(summary) == "No test loss is finite."


def test_older_files_with_a_bare_nan_are_read(tmp_path: Path) -> None:
    line = '{"epoch": 1, "train_loss": NaN, "test_loss": Infinity, "seconds": 1.0}'
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n")
    (record,) = runs.read_records(tmp_path)
    assert math.isnan(record["train_loss"])
    assert record["test_loss"] == math.inf


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_run_that_ends_worse_than_it_began_is_not_plainly_done(
    replicas: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its numbers stay finite, so nothing has stopped it."""

    def change(recipe: runs.Recipe) -> runs.Recipe:
        return replace(recipe, optimizer=optax.adam(1e3))

    folder = tmp_path / "run"
    go(out=folder, epochs=2, replicas=replicas, change=change)
    said = capsys.readouterr()
    assert re.search(
        r"warning: in .*, the test loss.* rose from \d\S* before training to", said.err
    )
    assert re.fullmatch(
        r"done, but the test loss.* rose from .*: pictures and summary.json in .*",
        said.out.splitlines()[-1],
    )
    assert "rose from" in runs.read_summary(folder)["warning"]


@pytest.mark.parametrize(
    ("record", "untrained", "expected"),
    [
        ({"test_loss": 2.0}, {"test_loss": 3.0}, None),
        ({"test_loss": -3.0}, {"test_loss": -2.0}, None),
        ({"test_loss": 2.0}, None, None),
        ({"test_loss": 2.0}, {"test_loss": math.nan}, None),
        ({"test_loss": math.nan}, {"test_loss": 3.0}, "not finite"),
        ({"test_loss": 4.0}, {"test_loss": 3.0}, "the test loss rose from 3 before training to 4"),
        (
            {"test_loss": 2.0, "test_loss_replicas": [1.0, 3.0]},
            {"test_loss": 2.5, "test_loss_replicas": [3.0, 2.0]},
            "of replica 1 rose from 2 before training to 3",
        ),
    ],
)
def test_divergence_is_a_loss_that_is_not_finite_or_has_risen(record, untrained, expected) -> None:
    said = describe_divergence(record, untrained)
    assert said is None if expected is None else expected in said
