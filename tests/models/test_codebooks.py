"""A codebook: its look-up against distances, and its moving averages against plain loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae.errors import UserError
from jaxae.models import Codebook, VectorQuantizer, nearest, update_codebook
from jaxae.models.codebooks import draw_weighted
from jaxae.network import apply

KEY = jax.random.key(0, impl="rbg")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_nearest_has_the_smallest_distance(offset: float) -> None:
    vectors, z = normal(7, 3) + offset, normal(4, 5, 3, seed=1) + offset
    distances = np.square(z[..., None, :].astype(float) - vectors).sum(axis=-1)
    indices = jax.jit(nearest)(vectors, z)
    assert indices.dtype == jnp.int32
    np.testing.assert_array_equal(indices, distances.argmin(axis=-1))


def test_ties_go_to_the_first_vector() -> None:
    vectors = jnp.array([[1.0, 0], [-1, 0], [1, 0]])
    np.testing.assert_array_equal(nearest(vectors, jnp.array([[0.0, 5], [1, 1]])), [0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 2, 6)])
def test_vectors_replace_groups_and_gradients_go_straight_through(shape: tuple[int, ...]) -> None:
    quantizer, z = VectorQuantizer(5, 3), jnp.asarray(normal(*shape))
    variables = quantizer.init(KEY, jnp.zeros((1, 6)))
    assert variables.keys() == {"codebook"}
    shapes = {"vectors": (5, 3), "counts": (5,), "sums": (5, 3)}
    assert jax.tree.map(jnp.shape, variables["codebook"]) == shapes
    code, indices = apply(quantizer, variables, z), apply(quantizer, variables, z, method="indices")
    assert indices.shape == (*shape[:-1], 2)
    assert len(np.unique(indices)) > 1
    vectors = np.asarray(variables["codebook"]["vectors"])
    groups = np.asarray(z).reshape(-1, 3)
    distances = np.square(groups[:, None] - vectors).sum(axis=-1)
    np.testing.assert_array_equal(code.reshape(-1, 3), vectors[distances.argmin(axis=1)])
    indices = indices.astype(int)  # `apply` converts them to floats
    np.testing.assert_array_equal(apply(quantizer, variables, indices, method="code_of"), code)

    def weighted(variables, z: Array) -> Array:
        return jnp.vdot(jnp.asarray(normal(*shape, seed=1)), apply(quantizer, variables, z))

    to_codebook, to_z = jax.grad(weighted, argnums=(0, 1))(variables, z)
    np.testing.assert_array_equal(to_z, normal(*shape, seed=1))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(to_codebook))


def test_an_empty_codebook_is_refused() -> None:
    for sizes in ((0, 3), (3, 0)):
        with pytest.raises(UserError, match="a codebook of"):
            VectorQuantizer(*sizes).init(KEY, jnp.zeros((1, 3)))


# Its moving averages.

update = jax.jit(update_codebook)

CENTERS = np.array([[4, 0], [0, 4], [-4, 0]], np.float32)


def new_codebook(vectors: np.ndarray) -> Codebook:
    return Codebook(jnp.asarray(vectors), jnp.zeros(len(vectors)), jnp.zeros(vectors.shape))


def outputs_near(centers: np.ndarray, seed: int = 0) -> Array:
    """Outputs [8, groups, 2] of 8 examples, one group around each center."""
    return jnp.asarray(centers + 0.3 * normal(8, *centers.shape, seed=seed))


@pytest.mark.slow
def test_averages_equal_a_loop_over_batches() -> None:
    codebook = new_codebook(CENTERS + 0.5)
    counts, sums, decay = np.zeros(3), np.zeros((3, 2)), 0.9
    for seed in range(6):
        # In every other batch, the last center gets no outputs.
        z = outputs_near(CENTERS[: 3 - seed % 2], seed)
        weights = np.random.default_rng(seed).integers(0, 2, 8).astype(np.float32)
        indices = np.asarray(nearest(codebook.vectors, z))
        counts, sums = decay * counts, decay * sums
        for example, groups in enumerate(np.asarray(z)):
            for group, output in enumerate(groups):
                counts[indices[example, group]] += (1 - decay) * weights[example]
                sums[indices[example, group]] += (1 - decay) * weights[example] * output
        codebook = update(codebook, z, indices, weights, KEY, decay=decay)
        np.testing.assert_allclose(codebook.counts, counts, rtol=1e-5)
        np.testing.assert_allclose(codebook.sums, sums, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(codebook.vectors, sums / counts[:, None], rtol=1e-4, atol=1e-5)
    assert counts[2] < 0.8 * counts[0]


def test_without_memory_an_update_is_a_step_of_k_means() -> None:
    z, codebook = outputs_near(CENTERS), new_codebook(CENTERS)
    for _ in range(2):  # the second forgets the first
        indices = nearest(codebook.vectors, z)
        codebook = update(codebook, z, indices, jnp.ones(8), KEY, decay=0.0)
    np.testing.assert_allclose(codebook.vectors, z.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(codebook.counts, 8)


@pytest.mark.slow
def test_padding_leaves_no_trace() -> None:
    weights = jnp.array([1.0, 1, 0, 1, 1, 0, 1, 1])
    z, codebook = outputs_near(CENTERS), new_codebook(normal(6, 2))
    updated = []
    for padding in (-1e3, 1e3):
        padded = jnp.where(weights[:, None, None] == 0, padding, z)
        indices = nearest(codebook.vectors, padded)
        updated.append(update(codebook, padded, indices, weights, KEY, decay=0.9))
    for first, second in zip(*map(jax.tree.leaves, updated), strict=True):
        np.testing.assert_array_equal(first, second)
    assert jnp.abs(updated[0].vectors).max() < 10


@pytest.mark.slow
def test_dead_codes_become_outputs_and_others_stay() -> None:
    z, weights = outputs_near(CENTERS), jnp.array([0.0, 1, 0, 1, 1, 0, 1, 0])
    far = np.full((5, 2), 50, np.float32)
    counts = jnp.array([4.0, 4, 4, 2, 0.1, 0, 0, 0])  # the fourth is unused, but not for long
    vectors = jnp.concatenate([CENTERS, far])
    codebook = Codebook(vectors, counts, counts[:, None] * vectors)
    indices = nearest(vectors, z)
    updated = update(codebook, z, indices, weights, KEY, decay=0.9)

    live = jax.tree.map(lambda leaf: leaf[:4], codebook)
    alone = update(live, z, indices, weights, KEY, decay=0.9)
    np.testing.assert_allclose(updated.counts[:4], alone.counts, rtol=1e-6)
    np.testing.assert_allclose(updated.vectors[:4], alone.vectors, rtol=1e-3)
    np.testing.assert_allclose(updated.vectors[3], 50, rtol=1e-3)

    candidates = {tuple(output) for output in np.asarray(z[weights > 0]).reshape(-1, 2)}
    revived = {tuple(vector) for vector in np.asarray(updated.vectors[4:])}
    assert revived <= candidates
    assert len(revived) > 1
    np.testing.assert_allclose(updated.counts[4:], (alone.counts.sum() + 0.09) / 8, rtol=1e-5)
    np.testing.assert_allclose(
        updated.sums[4:], updated.counts[4:, None] * updated.vectors[4:], rtol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_codebooks_are_finite_at_the_ends_of_the_decay(decay: float) -> None:
    z, codebook = outputs_near(CENTERS), new_codebook(normal(40, 2))
    for _ in range(3):
        indices = nearest(codebook.vectors, z)
        codebook = update(codebook, z, indices, jnp.ones(8), KEY, decay=decay)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(codebook))
        assert jnp.abs(codebook.vectors).max() < 10


@pytest.mark.slow
def test_draws_are_in_proportion_to_weights() -> None:
    weights = jnp.array([0.0, 1, 3, 0, 1, 0])
    draw = jax.jit(jax.vmap(partial(draw_weighted, weights=weights, count=4)))
    drawn = np.asarray(draw(jax.random.split(KEY, 4000)))
    for column in drawn.T:  # standard errors are below 0.008
        shares = np.bincount(column, minlength=6) / len(column)
        np.testing.assert_allclose(shares, weights / 5, atol=0.04)
        assert not shares[weights == 0].any()
    # Index 2 has three fifths of the weight, at least one whole quarter, and so at least one draw.
    assert (drawn == 2).any(axis=1).all()
