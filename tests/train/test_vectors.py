"""Vectors [N, D] in any range are trained on, evaluated and drawn like images."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import data, losses, objectives, runs, train
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.network import Network
from jaxae.runs import seeded_state
from jaxae.train import Batch, Examples, canonicalize, check_examples, check_floats, is_standardized
from support import small_run
from support.normalized import Normalized, objective_of

VECTORS = np.random.default_rng(0).normal(50, 200, (23, 5))


@pytest.mark.parametrize("scale", [1, 1e-3, 1e6])
def test_any_finite_floats_are_examples(scale: float) -> None:
    examples = check_examples(Examples(np.abs(VECTORS) * scale), 4)
    assert examples.images.dtype == np.float32
    assert examples.labels is None
    check_floats("images", np.abs(VECTORS) * scale)
    assert not is_standardized(VECTORS)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "int8"])
def test_integers_in_vectors_are_numbers_and_no_pixels(dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    for given in (values, values.tolist(), 1000 * values.astype(np.int64)):
        canonical = canonicalize(Examples(cast(Any, given))).images
        assert canonical.dtype == np.float32
        np.testing.assert_array_equal(canonical, np.asarray(given))
        np.testing.assert_array_equal(train.pixels(jnp.asarray(canonical)), np.asarray(given))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, np.nan]], "vectors with NaN or infinite numbers were given"),
        ([[1e300, 0.0]], r"vectors with 1e\+300 were given, which float32 cannot hold: give num"),
        ([["a", "b"]], "vectors of dtype <U1 were given: give numbers"),
        ([1.0, 2.0], r"give images \[N, H, W, C\] or vectors \[N, D\]"),
    ],
)
def test_what_is_no_vector_is_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_examples(Examples(np.array(values)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_vectors_without_labels_are_trained_and_evaluated(replicas: int) -> None:
    model, optimizer = Normalized((5,)), optax.adam(1e-2)

    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        assert batch.labels is None
        x = batch.images / 100
        y, changed = model.apply(
            variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return train.Terms(jnp.square(y - x).sum(1), {}, changed)

    state: Any = seeded_state(0, model=model, optimizer=optimizer, shape=(5,))
    if replicas > 1:
        state = jax.tree.map(lambda leaf: jnp.stack([leaf] * replicas), state)
    examples = Examples(VECTORS)
    fit = train.fit(
        state, examples, objective=objective, optimizer=optimizer, epochs=40, batch_size=5
    )
    losses = [epoch.metrics["loss"] for epoch in fit]
    assert np.all(losses[-1] < losses[0])
    evaluate = train.make_evaluation(objective, 10, replicas=replicas > 1)
    measured = evaluate(train.variables_of(state), jax.random.key(0), examples)
    assert measured["loss"].shape == state.step.shape


class Halving:
    """Stands in for a network that halves its inputs."""

    def reconstruct(self, variables: Any, images: jax.Array, labels: Any) -> jax.Array:
        return images / 2


@pytest.mark.usefixtures("unchecked_shapes")
def test_vectors_have_a_mean_squared_error_and_no_psnr() -> None:
    def objective(variables: Any, key: Any, batch: Batch) -> train.Terms:
        return train.Terms(jnp.zeros(2))

    measure = partial(
        objectives.with_image_errors, objective=objective, network=cast(Any, Halving())
    )
    batch = Batch(jnp.array([[2.0, 4.0], [0.0, 6.0]]), None, None, jnp.ones(2))
    terms = measure({}, jax.random.key(0), batch)
    assert terms.metrics.keys() == {"mse"}
    np.testing.assert_allclose(terms.metrics["mse"], [2.5, 4.5])


@pytest.mark.slow
def test_a_run_on_vectors_without_labels_draws_a_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = VECTORS.astype(np.float32) / 100
    dataset = data.assemble(
        "table", data.Split(vectors[3:], None), data.Split(vectors[:3], None), ()
    )
    monkeypatch.setattr(data, "load", lambda *names, **places: dataset)
    identity = Likelihood(lambda x: x, lambda x: x, losses.squared_error, bounded=False)
    network = Network(Normalized((5,)), identity)

    folder = tmp_path / "run"
    options = small_run.Options(
        runs.RunOptions(epochs=2, batch_size=5, learning_rate=1e-2, dataset="table", out=folder)
    )
    with runs.start("small", options, dataset="table") as run:
        recipe = runs.Recipe(
            network,
            objective_of(network),
            optax.adam(1e-2),
            test_objective=partial(objectives.reconstruction, network=network),
        )
        epochs = []
        for epoch in runs.train_epochs(run, recipe):
            runs.draw_reconstructions(run, epoch)
            epochs.append(epoch)
    assert {path.name for path in (folder / "pictures").iterdir()} == {
        *("curves.png", "epoch_001.png", "epoch_002.png")
    }
    assert "no picture" not in capsys.readouterr().err
    (_, last) = runs.read_records(folder)
    errors = np.square(epochs[-1].trained.reconstruct(vectors[:3]) - vectors[:3])
    assert last["test_mse"] == pytest.approx(errors.mean(), rel=1e-5)
    assert "test_psnr" not in last
