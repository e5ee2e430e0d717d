"""Stacks of layers: matrix products against XLA's convolutions, with pools and upsamplings."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae.models import ConvLayer, PoolLayer, stacks
from jaxae.models.autoencoders import identity

pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype(np.float32)

HALVE = PoolLayer(2, 2, "SAME")

STACKS = {
    "convolution and pool": [ConvLayer(3, pool=HALVE)],
    "pool that drops a row": [ConvLayer(3, padding="VALID", pool=PoolLayer(2, 2, "VALID"))],
    "pool over a padded border": [ConvLayer(3, padding="VALID", pool=HALVE)],
    "overlapping pool": [ConvLayer(3, pool=PoolLayer(3, 2, "SAME"))],
    "pool with stride 1": [ConvLayer(3, pool=PoolLayer(2, 1, "VALID"))],
    "strided convolution and pool": [ConvLayer(3, kernel_size=5, stride=2, padding=1, pool=HALVE)],
    "upsampling": [ConvLayer(3, upsample=2), ConvLayer(2)],
    "upsampling by 3, even kernel": [ConvLayer(1, upsample=3), ConvLayer(4, kernel_size=4)],
    "upsampling and no padding": [
        ConvLayer(3, upsample=2),
        ConvLayer(2, kernel_size=5, padding="VALID"),
    ],
    "upsampling and wide padding": [
        ConvLayer(3, upsample=2),
        ConvLayer(2, kernel_size=2, padding=2),
    ],
    "upsampling and pool": [ConvLayer(3, upsample=2), ConvLayer(2, pool=HALVE)],
    "upsampling and stride": [ConvLayer(3, upsample=2), ConvLayer(2, stride=2)],
    "upsampling and transposed": [ConvLayer(3, upsample=2), ConvLayer(2, stride=2, transpose=True)],
    "upsampling and transposed, stride 1": [ConvLayer(3, upsample=2), ConvLayer(2, transpose=True)],
    "upsampling at the end": [ConvLayer(3), ConvLayer(2, upsample=2)],
    "upsampling to an odd size": [ConvLayer(3, upsample=2, size=(17, 15)), ConvLayer(2)],
    "transposed to an odd size": [ConvLayer(3, stride=2, transpose=True, size=(17, 16))],
    "transposed": [
        ConvLayer(3, stride=3, kernel_size=2, transpose=True),
        ConvLayer(2, transpose=True),
    ],
}
ACTIVATIONS = {"relu": nn.relu, "gelu": nn.gelu}


@pytest.mark.parametrize("activation", stacks.NONDECREASING)
def test_nondecreasing_activations_never_decrease(
    activation: Any,
) -> None:
    outputs = np.asarray(activation(jnp.linspace(-10, 10, 1001)))
    assert (np.diff(outputs) > -1e-6).all()  # the tolerance is for rounding


def random_parameters(layers: list[ConvLayer]) -> list[tuple[Array, Array]]:
    """Returns kernels and biases for layers on IMAGES."""
    random, channels, parameters = np.random.default_rng(1), IMAGES.shape[-1], []
    for layer in layers:
        shape = (layer.kernel_size, layer.kernel_size, channels, layer.features)
        arrays = random.normal(size=shape), random.normal(size=layer.features)
        parameters.append(tuple(jnp.asarray(array, jnp.float32) / 2 for array in arrays))
        channels = layer.features
    return parameters


def output_and_gradients(compute: Any, layers: list[ConvLayer], activation: Any, x: Any) -> Any:
    """Returns the output of layers, and its gradients in a random direction.

    The last layer has an activation only if it pools.
    """
    parameters = random_parameters(layers)
    activations = [activation] * (len(layers) - 1) + [activation if layers[-1].pool else identity]
    paired = list(zip(layers, activations, strict=True))
    output, pull = jax.vjp(partial(compute, layers=paired), jnp.asarray(x), parameters)
    direction = np.random.default_rng(2).normal(size=output.shape).astype(np.float32)
    return output, pull(jnp.asarray(direction))


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_products_are_convolutions(layers: list[ConvLayer], activation: Any) -> None:
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(x: Array) -> tuple[Any, Any]:
        computations = stacks.by_products, stacks.by_convolutions
        actual, expected = (
            output_and_gradients(compute, layers, activation, x) for compute in computations
        )
        return actual, expected

    actual, expected = map(jax.tree.leaves, both(IMAGES))
    for left, right in zip(actual, expected, strict=True):
        assert left.shape == right.shape
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-5 * max(np.abs(right).max(), 1))


def test_the_first_of_equal_pixels_is_pooled() -> None:
    layers = [ConvLayer(2, padding="VALID", pool=HALVE)]
    blank = np.zeros_like(IMAGES)
    (_, (actual, _)), (_, (expected, _)) = (
        output_and_gradients(compute, layers, nn.tanh, blank)
        for compute in (stacks.by_products, stacks.by_convolutions)
    )
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_padding_is_never_pooled() -> None:
    # All outputs are negative; padding with 0 would win in the windows over the border.
    parameters = [(-jnp.ones((3, 3, 2, 1)), jnp.zeros(1))]
    layers = [(ConvLayer(1, padding="VALID", pool=HALVE), nn.tanh)]
    output = stacks.by_products(jnp.ones((1, 5, 5, 2)), parameters, layers=layers)
    np.testing.assert_allclose(output, np.full((1, 2, 2, 1), np.tanh(-18)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_stays(dtype: Any) -> None:
    layers = [(ConvLayer(3, pool=HALVE, upsample=2), nn.relu), (ConvLayer(1), identity)]
    parameters = jax.tree.map(
        lambda a: a.astype(dtype), random_parameters([layer for layer, _ in layers])
    )
    outputs = [
        compute(jnp.asarray(IMAGES, dtype), parameters, layers=layers)
        for compute in (stacks.by_products, stacks.by_convolutions)
    ]
    assert all(output.dtype == dtype for output in outputs)
    left, right = (np.asarray(output, np.float32) for output in outputs)
    np.testing.assert_allclose(left, right, atol=0.03 * np.abs(right).max())


def test_parameters_and_images_of_different_dtypes_are_promoted() -> None:
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x: Array) -> Array:
            initializers = nn.initializers.ones, nn.initializers.zeros
            return stacks.convolve(x, [(ConvLayer(1), identity)], lambda fan_in: initializers)

    images = jnp.asarray(IMAGES, jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):
        output, variables = Stack().init_with_output(jax.random.key(0), images)
    assert jax.tree.leaves(variables)[0].dtype == jnp.float32
    assert output.dtype == jnp.float32
