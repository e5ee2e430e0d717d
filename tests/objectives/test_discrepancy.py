"""The maximum mean discrepancy: unbiased, and without an effect of padding."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae.objectives import rbf
from jaxae.objectives.discrepancy import SCALES, Kernel, imq, mmd, squared_distances

pytestmark = pytest.mark.slow

KERNELS = pytest.mark.parametrize("kernel", [imq, rbf])


def normals(key: Array, count: int, shift: float = 0.0) -> Array:
    return jax.random.normal(key, (count, 3)) + shift


@KERNELS
def test_its_mean_is_0_for_equal_distributions_and_positive_for_others(kernel: Kernel) -> None:
    @jax.jit
    @jax.vmap
    def draws(key: Array) -> tuple[Array, Array]:
        one, two = jax.random.split(key)
        weights = jnp.ones(20)
        same = mmd(normals(one, 20), normals(two, 20), weights, kernel=kernel)
        return same, mmd(normals(one, 20), normals(two, 20, 1.0), weights, kernel=kernel)

    same, shifted = draws(jax.random.split(jax.random.key(0), 2000))
    error = same.std() / len(same) ** 0.5
    assert abs(same.mean()) < 4 * error
    assert same.min() < 0
    assert shifted.mean() > 50 * error


@KERNELS
def test_it_is_the_sum_over_pairs(kernel: Kernel) -> None:
    x, y = (np.asarray(normals(jax.random.key(seed), 6)) for seed in (0, 1))

    def value(a: np.ndarray, b: np.ndarray) -> float:
        distance, widths = np.sum((a - b) ** 2), 2 * 3 * np.array(SCALES)
        each = widths / (widths + distance) if kernel is imq else np.exp(-distance / widths)
        return each.sum()

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        pairs = [(i, j) for i in range(6) for j in range(6) if not (same and i == j)]
        return float(np.mean([value(a[i], b[j]) for i, j in pairs]))

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    result = mmd(jnp.asarray(x), jnp.asarray(y), jnp.ones(6), kernel=kernel)
    np.testing.assert_allclose(result, expected, rtol=1e-4)


@KERNELS
def test_padding_leaves_no_trace_and_gradients_are_finite(kernel: Kernel) -> None:
    x, y = (normals(jax.random.key(seed), 5) for seed in (0, 1))
    weights = jnp.array([1.0, 1, 1, 0, 0])
    value = jax.jit(jax.value_and_grad(partial(mmd, kernel=kernel)))
    alone, gradient = value(x[:3], y[:3], jnp.ones(3))
    for garbage in (0, 1e6, jnp.inf, jnp.nan):
        padded, padded_gradient = value(x.at[3:].set(garbage), y.at[3:].set(-garbage), weights)
        np.testing.assert_allclose(padded, alone, rtol=1e-6)
        np.testing.assert_allclose(padded_gradient[:3], gradient, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(padded_gradient[3:], 0)
    # Points that coincide, and one point or none.
    assert np.isfinite(value(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones(4))[1]).all()
    for count in (0, 1):
        assert value(x, y, (jnp.arange(5) < count).astype(jnp.float32))[0] == 0


def test_squared_distances() -> None:
    x, y = (normals(jax.random.key(seed), 5) for seed in (0, 1))
    expected = np.square(np.asarray(x)[:, None] - np.asarray(y)[None]).sum(axis=2)
    np.testing.assert_allclose(squared_distances(x, y), expected, rtol=1e-5)
    assert (squared_distances(x * 1e3, x * 1e3) >= 0).all()
