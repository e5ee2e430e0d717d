"""A large batch in tiles: the loss, the gradient and the terms of the whole batch at once."""

from dataclasses import replace
from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import likelihoods, models, runs, train
from jaxae.network import Network
from jaxae.train.tiles import tile_count

OPTIMIZER = optax.sgd(0.1)
SHAPE = (3, 2, 1)


def test_tiles_are_equal_and_of_moderate_size() -> None:
    counts = {batch: tile_count(batch) for batch in range(1, 20_000)}
    assert {counts[batch] for batch in range(1, 4096)} == {1}
    assert (counts[8192], counts[10_000], counts[4099]) == (8, 10, 1)  # 4099 is a prime number
    for batch, count in counts.items():
        assert batch % count == 0
        assert count == 1 or 512 <= batch // count <= 1024


def dense_recipe() -> runs.Recipe:
    """Returns the recipe of a small dense autoencoder."""
    model = models.Autoencoder(
        models.DenseEncoder((5,), 2, activation=jnp.tanh),
        models.DenseDecoder((5,), SHAPE, activation=jnp.tanh),
    )
    return runs.reconstruction_recipe(Network(model, likelihoods.BERNOULLI), OPTIMIZER)


def state_of(recipe: runs.Recipe, seed: int = 0) -> train.State:
    key = jax.random.key(seed)
    return train.init(key, recipe.network.model.init(key, jnp.zeros((1, *SHAPE))), OPTIMIZER)


def a_batch(size: int) -> train.Batch:
    """Returns random images, of which about a tenth are padding."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (size, *SHAPE), np.uint8)
    weights = (generator.random(size) < 0.9).astype(np.float32)
    return train.Batch(jnp.asarray(images), None, None, jnp.asarray(weights))


def step_of(objective: train.Objective, *, guarded: bool = True):
    return partial(train.take_step, objective=objective, optimizer=OPTIMIZER, guarded=guarded)


def assert_close(tree, expected, rtol: float = 2e-5, atol: float = 1e-6) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for actual, wanted in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert actual.dtype == wanted.dtype
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=atol)


def in_and_without_tiles(recipe: runs.Recipe) -> tuple[train.ByExample, train.Objective]:
    objective = recipe.objective
    assert isinstance(objective, train.ByExample)
    return objective, objective.objective


@pytest.mark.parametrize("size", [4096, 4099, 5000])
def test_a_step_in_tiles_equals_one_at_once(size: int) -> None:
    recipe = dense_recipe()
    tiled, plain = in_and_without_tiles(recipe)
    state, batch = state_of(recipe), a_batch(size)
    (new, totals), (expected, sums) = (
        jax.jit(step_of(objective))(state, batch) for objective in (tiled, plain)
    )
    assert_close((new.params, totals), (expected.params, sums))
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), new.params, state.params)
    assert min(jax.tree.leaves(moved)) > 1e-4  # else the comparison says little


def test_terms_keep_the_order_of_the_examples() -> None:
    recipe = dense_recipe()
    tiled, plain = in_and_without_tiles(recipe)
    state, batch = state_of(recipe), a_batch(4096)
    batch = replace(batch, weights=batch.weights.at[:700].set(0))
    _, totals = jax.jit(step_of(tiled))(state, batch)
    _, sums = jax.jit(step_of(plain))(state, batch)
    assert_close(totals, sums)


def test_replicas_in_tiles() -> None:
    recipe = dense_recipe()
    tiled, plain = in_and_without_tiles(recipe)
    states = [state_of(recipe, seed) for seed in (0, 1)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    batch = a_batch(4096)
    new, _ = jax.jit(jax.vmap(step_of(tiled), (0, None)))(together, batch)
    for index, state in enumerate(states):
        expected, _ = jax.jit(step_of(plain))(state, batch)
        assert_close(jax.tree.map(itemgetter(index), new.params), expected.params)


def test_a_step_in_tiles_that_is_not_finite_is_skipped() -> None:
    recipe = dense_recipe()
    state, batch = state_of(recipe), a_batch(4096)
    broken = jnp.zeros(batch.images.shape).at[1000].set(jnp.nan)
    batch = replace(batch, images=broken, weights=jnp.ones(4096))
    new, totals = jax.jit(step_of(recipe.objective))(state, batch)
    assert_close(new.params, state.params)
    assert totals["skipped_steps"] == 1


def test_only_plain_dense_autoencoders_take_tiles() -> None:
    assert models.is_dense(models.fashion((28, 28, 1), 20))
    assert models.is_dense(models.deep((28, 28, 1), 20))
    assert not models.is_dense(models.denoise((28, 28, 1)))
    assert not models.is_dense(models.vae((28, 28, 1), 2))
    dense = models.fashion((28, 28, 1), 20)
    assert not models.is_dense(dense.clone(bottleneck=models.TopK(3)))
