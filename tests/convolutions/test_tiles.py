"""Large batches in tiles against the whole batch at once."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae.convolutions import keep, map_tiles, tile_size
from jaxae.convolutions.tiles import cache_bytes
from jaxae.models import ConvLayer, PoolLayer, stacks
from jaxae.models.autoencoders import identity

X = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
PARAMETERS = {
    "kernel": np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32),
    "bias": np.ones(3, np.float32),
}


def layer(x: Array | np.ndarray, parameters: Any) -> Array:
    """A layer that keeps its output before the activation."""
    return jnp.tanh(keep(x @ parameters["kernel"] + parameters["bias"][None]))


def tiled(x: Array | np.ndarray, parameters: Any, size: int) -> Array:
    """The layer, applied to tiles."""
    return map_tiles(layer, jnp.asarray(x), parameters, size)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 100])
def test_tiles_equal_the_whole_batch(size):
    np.testing.assert_allclose(tiled(X, PARAMETERS, size), layer(X, PARAMETERS), rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_gradients_equal_those_of_the_whole_batch(size):
    def loss(function, x, parameters):
        return jnp.sum(jnp.square(function(x, parameters)))

    def gradient(function):
        return jax.grad(partial(loss, function), argnums=(0, 1))(X, PARAMETERS)

    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        gradient(partial(tiled, size=size)),
        gradient(layer),
    )


def test_gradients_in_half_precision_are_summed_in_float32():
    x = np.random.default_rng(2).normal(loc=1, size=(512, 4)).astype(np.float32)

    def gradient(size: int, dtype: Any) -> np.ndarray:
        parameters = jax.tree.map(lambda p: jnp.asarray(0.1 * p, dtype), PARAMETERS)

        def loss(parameters: Any) -> Array:
            return jnp.sum(tiled(jnp.asarray(x, dtype), parameters, size).astype(jnp.float32))

        return np.asarray(jax.grad(loss)(parameters)["kernel"], np.float32)

    exact, half = gradient(512, jnp.float32), gradient(4, jnp.bfloat16)
    assert np.linalg.norm(half - exact) < 0.005 * np.linalg.norm(exact)


def test_second_derivatives_equal_those_of_the_whole_batch():
    def hessian(function):
        return jax.hessian(lambda bias: function(X, {**PARAMETERS, "bias": bias}).sum())(
            PARAMETERS["bias"]
        )

    expected = hessian(layer)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(hessian(partial(tiled, size=3)), expected, rtol=1e-5, atol=1e-6)


def test_tiles_can_be_mapped_over_replicas():
    replicas = jax.tree.map(lambda x: np.stack([x, 2 * x]), PARAMETERS)
    y = jax.vmap(partial(tiled, size=3), (None, 0))(X, replicas)
    second = jax.tree.map(lambda x: 2 * x, PARAMETERS)
    np.testing.assert_allclose(y[1], layer(X, second), rtol=1e-6)


def test_nan_stays_in_its_example():
    x = X.copy()
    x[5] = np.nan
    y = tiled(x, PARAMETERS, 3)
    assert np.isnan(y[5]).all()
    assert np.isfinite(np.delete(y, 5, axis=0)).all()


def test_a_batch_of_one_tile_takes_no_loop():
    def loops(size: int) -> bool:
        return "scan" in str(jax.make_jaxpr(partial(tiled, size=size))(X, PARAMETERS))

    assert not loops(7)
    assert loops(6)


def test_the_cache_is_that_of_the_system():
    file = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    if not file.exists():
        assert cache_bytes() == 2**20
    else:
        assert f"{cache_bytes() // 1024}K" == file.read_text(encoding="utf-8").strip()


def test_tiles_get_smaller_as_images_get_larger():
    assert tile_size(10**9) == 32
    assert tile_size(1000) > tile_size(20_000) >= 32
    assert tile_size(1000) % 32 == 0


LAYERS = [
    (ConvLayer(3, pool=PoolLayer(2, 2, "SAME")), identity),
    (ConvLayer(4, stride=2, padding=1), identity),
    (ConvLayer(2, stride=2, transpose=True), identity),
    (ConvLayer(2, upsample=2), identity),
]


def test_a_stack_without_layers_changes_nothing():
    x = np.ones((2, 3, 3, 1), np.float32)
    np.testing.assert_array_equal(stacks._by_tiles(jnp.asarray(x), [], layers=[]), x)


@pytest.mark.slow
def test_a_stack_in_tiles_equals_convolutions(monkeypatch):
    monkeypatch.setattr(stacks.convolutions, "tile_size", lambda bytes_per_image: 3)
    x = np.random.default_rng(2).normal(size=(8, 12, 10, 2)).astype(np.float32)
    numbers, parameters, channels = np.random.default_rng(3), [], 2
    for convolution, _ in LAYERS:
        shape = (convolution.kernel_size, convolution.kernel_size, channels, convolution.features)
        kernel = numbers.normal(scale=0.2, size=shape).astype(np.float32)
        parameters.append((kernel, numbers.normal(size=shape[-1]).astype(np.float32)))
        channels = convolution.features

    def value_and_gradient(function):
        def loss(x, parameters):
            return jnp.sum(jnp.sin(function(x, parameters, layers=LAYERS)))

        return jax.value_and_grad(loss, argnums=(0, 1))(x, parameters)

    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4),
        value_and_gradient(stacks._by_tiles),
        value_and_gradient(stacks.by_convolutions),
    )


@pytest.mark.slow
def test_memory_of_a_large_batch_does_not_hold_its_columns():
    layers = [(ConvLayer(16), identity), (ConvLayer(16), identity), (ConvLayer(1), identity)]
    shapes = [(3, 3, 1, 16), (3, 3, 16, 16), (3, 3, 16, 1)]
    parameters = [(jnp.zeros(shape), jnp.zeros(shape[-1])) for shape in shapes]

    def loss(parameters, x):
        return jnp.sum(stacks._by_tiles(x, parameters, layers=layers))

    def temporary_bytes(batch: int) -> int:
        x = jnp.zeros((batch, 28, 28, 1))
        compiled = jax.jit(jax.grad(loss)).lower(parameters, x).compile()
        memory = compiled.memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    size = stacks.tile_size((1, 28, 28, 1), parameters, [layer for layer, _ in layers])
    added = temporary_bytes(8 * size) - temporary_bytes(4 * size)
    columns = 4 * size * 28 * 28 * 9 * 16 * 4
    assert added < columns / 3
