"""Padding of the last batch: no bias in the statistics of a batch, and no share in sums."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import train
from jaxae.errors import UserError
from jaxae.train import Batch, Examples, pixels

pytestmark = pytest.mark.slow

SIZE, BATCH = 5000, 128  # leaves a last batch of 8
MOMENTUM = 0.9


class Normalized(nn.Module):
    """Batch normalization alone."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        return nn.BatchNorm(use_running_average=not train, momentum=MOMENTUM)(x)


MODEL = Normalized()
OPTIMIZER = optax.sgd(1e-3)


def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    x = pixels(batch.images)
    y, updated = MODEL.apply(variables, x, train=True, mutable=["batch_stats"])
    return train.Terms(jnp.square(y - x).sum((1, 2, 3)), {}, updated)


def new_state() -> train.State:
    variables = MODEL.init(jax.random.key(0), jnp.zeros((1, 1, 1, 1)))
    return train.init(jax.random.key(1), variables, OPTIMIZER)


def fit(images: np.ndarray, *, epochs: int = 1, **options) -> train.State:
    *_, end = train.fit(
        new_state(),
        Examples(images),
        objective=objective,
        optimizer=OPTIMIZER,
        epochs=epochs,
        batch_size=BATCH,
        **options,
    )
    return end.state


def running_mean(state: train.State) -> float:
    return state.collections["batch_stats"]["BatchNorm_0"]["mean"].item()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Dark images, of which the first one is white."""
    images = np.random.default_rng(0).integers(0, 60, (SIZE, 1, 1, 1), np.uint8)
    images[0] = 255
    return images


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_running_statistics_are_those_of_batches_of_other_examples(
    images: np.ndarray, drop_remainder: bool
) -> None:
    state = fit(images, epochs=2, drop_remainder=drop_remainder)
    order_key, _ = jax.random.split(jax.random.key(1))
    expected = 0.0
    for epoch in range(2):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(order_key, epoch), SIZE))
        steps = SIZE // BATCH if drop_remainder else -(-SIZE // BATCH)
        for batch in np.resize(order, (steps, BATCH)):  # goes on at the start of the order
            mean = images[batch].mean(dtype=np.float64) / 255
            expected = MOMENTUM * expected + (1 - MOMENTUM) * mean
    assert running_mean(state) == pytest.approx(expected, rel=1e-5)


def test_the_first_example_has_no_share_of_its_own(images: np.ndarray) -> None:
    means = [running_mean(fit(np.roll(images, shift, axis=0))) for shift in (0, 1, 2500)]
    np.testing.assert_allclose(means, means[0], atol=5e-3)
    expected = (1 - MOMENTUM**40) * images.mean() / 255
    np.testing.assert_allclose(means, expected, atol=5e-3)


def test_padding_that_is_not_finite_has_no_share_in_sums() -> None:
    """The objective itself is infinite for padding, whatever the example."""

    def infinite(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        spoiled = jnp.where(batch.weights > 0, 0.0, jnp.inf)
        loss = variables["params"]["x"] * pixels(batch.images).sum((1, 2, 3)) + spoiled
        return train.Terms(loss, {"spoiled": spoiled - spoiled})

    state = train.init(jax.random.key(0), {"params": {"x": jnp.ones(())}}, OPTIMIZER)
    examples = Examples(np.full((5, 1, 1, 1), 255, np.uint8))
    epoch = train.make_epoch(infinite, OPTIMIZER, 4)
    end, measured = epoch(state, examples)
    assert measured["skipped_steps"] == 0
    assert measured["spoiled"] == 0
    assert end.params["x"] == pytest.approx(1 - 2e-3)
    evaluate = train.make_evaluation(infinite, 4)
    assert evaluate(train.variables_of(state), jax.random.key(0), examples)["loss"] == 1


def test_a_fit_needs_a_whole_batch_even_if_the_remainder_is_dropped(images: np.ndarray) -> None:
    with pytest.raises(UserError, match="batch size of 128 was given for 100 images"):
        fit(images[:100], drop_remainder=True)


def test_chunks_do_not_change_a_fit_without_a_remainder(images: np.ndarray) -> None:
    whole = fit(images, epochs=2, drop_remainder=True)
    assert train.steps_done(whole) == 2 * (SIZE // BATCH)
    for chunk_steps in (5, 1000):
        chunks = fit(images, epochs=2, drop_remainder=True, chunk_steps=chunk_steps)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-6), chunks.collections, whole.collections
        )
