"""Top-k and finite scalar quantization against their definitions."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.errors import UserError
from jaxae.family import FAMILY
from jaxae.models import FiniteScalarQuantizer, TopK, VectorQuantizer, limited_scale

KEY = jax.random.key(0, impl="rbg")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Top-k.


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 12), (5, 2, 3, 2)])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_top_k_keeps_the_largest_of_each_example(shape: tuple[int, ...], k: int) -> None:
    z = normal(*shape)
    code = np.asarray(TopK(k)(jnp.asarray(z)))
    assert code.shape == shape
    for kept, numbers in zip(code.reshape(5, -1), z.reshape(5, -1), strict=True):
        bound = np.sort(numbers)[-k]
        np.testing.assert_array_equal(kept, np.where(numbers >= bound, numbers, 0))


@pytest.mark.slow
def test_top_k_keeps_k_numbers_despite_ties() -> None:
    z = jnp.array([[3.0, 3, 3, 3], [1, 2, 2, 2], [-5, -5, -6, -5]])
    expected = [[3, 3, 0, 0], [0, 2, 2, 0], [-5, -5, 0, 0]]
    np.testing.assert_array_equal(TopK(2)(z), expected)


@pytest.mark.slow
def test_the_gradient_of_top_k_goes_to_the_kept_numbers() -> None:
    z = jnp.array([[0.1, 2, -1, 1]])
    gradient = jax.grad(lambda z: (TopK(2)(z) * jnp.array([[1.0, 2, 3, 4]])).sum())(z)
    np.testing.assert_array_equal(gradient, [[0, 2, 0, 4]])


@pytest.mark.parametrize("k", [0, 5])
def test_top_k_of_too_many_is_refused(k: int) -> None:
    with pytest.raises(UserError, match=f"the {k} largest of a code's 4 numbers.*keep 1 to 4"):
        TopK(k)(jnp.zeros((1, 4)))


# Finite scalar quantization.

LEVELS = [(2,), (3,), (2, 3), (8, 5, 5), (4, 4, 2), (7, 3, 6), (1500,)]


@pytest.mark.slow
@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_is_reached_and_has_a_number_of_its_own(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalarQuantizer(levels)
    numbers = jnp.arange(quantizer.size)[:, None]
    codes = quantizer.code_of(numbers)
    assert codes.shape == (math.prod(levels), len(levels))
    assert len(np.unique(codes, axis=0)) == math.prod(levels)
    assert jnp.abs(codes).max() <= 1
    assert (codes.min(axis=0) == -1).all()
    indices = quantizer.indices(codes)
    assert indices.dtype == jnp.int32
    np.testing.assert_array_equal(indices, numbers)
    # Every code is reachable: a fine grid of z finds all levels of each number.
    grid = jnp.broadcast_to(jnp.linspace(-9, 9, 40_001)[:, None], (40_001, len(levels)))
    reached = np.asarray(jax.jit(quantizer)(grid))
    for number in range(len(levels)):
        found, possible = np.unique(reached[:, number]), np.unique(codes[:, number])
        np.testing.assert_allclose(found, possible, atol=1e-6)


@pytest.mark.parametrize("levels", [2, 8, int(FAMILY["fsq"].model_settings["levels"].high)])
def test_features_of_limited_scale_reach_every_level(levels: int) -> None:
    features = limited_scale(jnp.linspace(-50, 50, 40_001)[:, None])
    reached = jax.jit(FiniteScalarQuantizer((int(levels),)))(features)
    assert len(np.unique(reached)) == levels


@pytest.mark.slow
def test_groups_lie_along_the_last_axis() -> None:
    quantizer = FiniteScalarQuantizer((5, 4, 3))
    z = 2 * normal(2, 3, 2, 6)
    code = quantizer(jnp.asarray(z))
    indices = quantizer.indices(code)
    assert code.shape == z.shape
    assert indices.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(quantizer.code_of(indices), code, atol=1e-6)
    for group in range(2):
        part = slice(3 * group, 3 * group + 3)
        np.testing.assert_array_equal(quantizer(jnp.asarray(z[..., part])), code[..., part])


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_numbers_are_rounded_to_the_nearest_level(size: int) -> None:
    z = jnp.asarray(3 * normal(50, 1))
    quantizer = FiniteScalarQuantizer((size,))
    bounded = quantizer.bound(z)
    assert jnp.abs(quantizer(z) * (size // 2) - bounded).max() <= 0.5
    assert (jnp.diff(bounded[jnp.argsort(z[:, 0]), 0]) >= 0).all()
    np.testing.assert_allclose(quantizer.bound(jnp.zeros((1, 1))), 0, atol=0.01)


@pytest.mark.slow
def test_the_gradient_ignores_the_rounding() -> None:
    quantizer = FiniteScalarQuantizer((8, 5))
    z, weights = jnp.asarray(normal(3, 4)), jnp.asarray(normal(3, 4, seed=1))
    half_widths = jnp.array([[4.0, 2, 4, 2]])
    gradient = jax.grad(lambda z: (quantizer(z) * weights).sum())(z)
    expected = jax.grad(lambda z: (quantizer.bound(z) / half_widths * weights).sum())(z)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    assert (gradient != 0).all()


@pytest.mark.slow
def test_extreme_features_have_the_outer_levels_and_finite_gradients() -> None:
    quantizer = FiniteScalarQuantizer((8, 5))
    z = jnp.array([[-1e3, -1e3], [1e3, 1e3]])
    np.testing.assert_array_equal(quantizer(z), [[-1, -1], [0.75, 1]])
    assert jnp.isfinite(jax.grad(lambda z: quantizer(z).sum())(z)).all()


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("levels", [(), (1, 3), (2**16, 2**16), [3, 3], (2.5, 3)])
def test_levels_that_make_no_code_are_refused(levels) -> None:
    with pytest.raises(UserError, match="give a tuple of whole numbers"):
        FiniteScalarQuantizer(levels)


@pytest.mark.parametrize("size", [2, 4])
def test_a_code_of_other_sizes_is_refused(size: int) -> None:
    quantizers = [FiniteScalarQuantizer((5, 4, 3)), VectorQuantizer(2, 3)]
    for quantize in (quantizers[0], partial(quantizers[1].init, KEY)):
        with pytest.raises(UserError, match=f"code of {size} numbers.*takes 3 at a time"):
            quantize(jnp.zeros((1, size)))
