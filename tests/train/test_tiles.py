"""A large batch in tiles: the loss, the gradient and the terms of the whole batch at once."""

from dataclasses import replace
from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import devices, likelihoods, models, runs, train
from jaxae.errors import UserError
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


class Centered(models.DenseEncoder):
    """An encoder that subtracts the mean of the batch from each code."""

    def __call__(self, x):
        codes = super().__call__(x)
        return codes - codes.mean(0, keepdims=True)


def test_networks_derived_from_dense_ones_take_no_tiles() -> None:
    encoder, decoder = Centered((5,), 2), models.DenseDecoder((5,), SHAPE)
    assert not models.is_dense(models.Autoencoder(encoder, decoder))


def squared(variables, key, batch: train.Batch, dtype=jnp.float32) -> train.Terms:
    """The squared scale of each image; the gradient of the scale is not 0."""
    del key
    loss = variables["params"]["scale"].astype(dtype) * batch.images[:, 0, 0, 0].astype(dtype)
    return train.Terms(jnp.square(loss))


def scale_state() -> train.State:
    variables = {"params": {"scale": jnp.float32(0.5)}, "count": jnp.zeros(())}
    return train.init(jax.random.key(0), variables, OPTIMIZER)


def test_a_loss_in_half_precision_is_averaged_in_tiles_as_at_once() -> None:
    objective = partial(squared, dtype=jnp.float16)
    images = jnp.full((80_000, 1, 1, 1), 0.25)  # more examples than float16 can count
    batch = train.Batch(images, None, None, jnp.ones(80_000))
    assert tile_count(80_000) > 1
    tiled, _ = step_of(train.ByExample(objective), guarded=False)(scale_state(), batch)
    plain, _ = step_of(objective, guarded=False)(scale_state(), batch)
    assert_close(tiled.params, plain.params, rtol=1e-3)
    assert abs(tiled.params["scale"] - 0.5) > 1e-3


def scalar_metric(variables, key, batch: train.Batch) -> train.Terms:
    terms = squared(variables, key, batch)
    return replace(terms, metrics={"largest": jnp.max(terms.loss)})


def scalar_loss(variables, key, batch: train.Batch) -> train.Terms:
    return train.Terms(jnp.mean(squared(variables, key, batch).loss))


def collection(variables, key, batch: train.Batch) -> train.Terms:
    return replace(squared(variables, key, batch), collections={"count": jnp.zeros(())})


@pytest.mark.parametrize(
    ("objective", "what"),
    [(scalar_metric, "a largest that"), (scalar_loss, "a loss that"), (collection, "collections")],
)
def test_an_objective_that_is_not_by_example_is_an_error(
    objective: train.Objective, what: str
) -> None:
    batch = train.Batch(jnp.ones((4, 1, 1, 1)), None, None, jnp.ones(4))
    with pytest.raises(UserError, match=f"in ByExample returned {what}"):
        step_of(train.ByExample(objective))(scale_state(), batch)


def test_a_mesh_takes_no_tiles() -> None:
    examples = train.Examples(np.ones((4096, 1, 1, 1), np.float32))
    objective = train.ByExample(scalar_metric)  # an error without a mesh
    fit = partial(
        *(train.fit, scale_state(), examples),
        **{"objective": objective, "optimizer": OPTIMIZER, "epochs": 1, "batch_size": 4096},
    )
    (progress,) = fit(mesh=devices.data_mesh(1))
    assert progress.metrics["largest"] == 0.25
    with pytest.raises(UserError, match="in ByExample"):
        next(fit())
