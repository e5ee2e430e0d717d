"""Residual networks: group norm against its definition, and the two ways to compute them."""

import json
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae import models
from jaxae.models import Autoencoder, ConvLayer, Design, make_pair, residual

KEY = jax.random.key(0, impl="rbg")
IMAGES = np.random.default_rng(0).normal(size=(3, 7, 6, 2)).astype(np.float32)


def normal(*shape: int, seed: int = 1) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


# Group norm.

GROUPS = {1: 1, 3: 1, 4: 1, 6: 1, 8: 2, 12: 3, 16: 4, 18: 2, 20: 5, 64: 16, 128: 32, 256: 32}


@pytest.mark.slow
@pytest.mark.parametrize("channels", GROUPS)
def test_group_norm_is_that_of_flax(channels: int) -> None:
    x, scale, bias = 3 + normal(2, 3, 4, channels), normal(channels), normal(channels, seed=2)
    flax = nn.GroupNorm(num_groups=GROUPS[channels], epsilon=1e-6, use_fast_variance=False)
    expected: Any = flax.apply({"params": {"scale": scale, "bias": bias}}, x)
    last = residual.group_norm(x, scale, bias, axis=3)
    np.testing.assert_allclose(last, expected, atol=2e-5)
    first = residual.group_norm(x.transpose(3, 1, 2, 0), scale, bias, axis=0)
    np.testing.assert_allclose(first.transpose(3, 1, 2, 0), expected, atol=2e-5)


def test_statistics_of_half_precision_are_of_float32() -> None:
    # In bfloat16, whose numbers near 300 are 2 apart, the mean and the variance would be lost.
    x = 300 + 2 * jnp.round(normal(2, 8, 8, 4))
    ones, zeros = jnp.ones(4), jnp.zeros(4)
    narrow = residual.group_norm(x.astype(jnp.bfloat16), ones, zeros, axis=3)
    assert narrow.dtype == jnp.bfloat16
    wide = residual.group_norm(x, ones, zeros, axis=3)
    np.testing.assert_allclose(narrow.astype(jnp.float32), wide, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e6, 1e9])
def test_constant_images_have_a_finite_gradient(value: float) -> None:
    x = jnp.full((2, 4, 4, 8), value)
    norm = partial(residual.group_norm, scale=jnp.ones(8), bias=jnp.zeros(8), axis=3)
    output, pull = jax.vjp(norm, x)
    assert np.isfinite(output).all()
    assert np.isfinite(pull(normal(*x.shape))[0]).all()


# The networks.

LAYERS = {
    "down": ((ConvLayer(4), ConvLayer(6, stride=2)), None),
    "down to maps": ((ConvLayer(4), ConvLayer(8, stride=2)), ConvLayer(3, 1)),
    "up": ((ConvLayer(8, upsample=2), ConvLayer(4)), ConvLayer(3)),
    "up to an odd size": ((ConvLayer(8, upsample=2, size=(13, 11)), ConvLayer(4)), ConvLayer(3)),
    "upsampled last": ((ConvLayer(4, upsample=2),), ConvLayer(3)),
}


def random_parameters(layers: Any, last: Any) -> tuple[Any, Any]:
    """Returns kernels and norms for layers on IMAGES."""

    class Declare(nn.Module):
        @nn.compact
        def __call__(self, x: Array) -> Array:
            return residual.convolve(x, layers, last, nn.silu, models.lecun, None)

    params = jax.jit(Declare().init)(KEY, IMAGES)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.3 * normal(*leaf.shape), params)
    convolutions = [params[f"Conv_{n}"] for n in range(3 * len(layers) + (last is not None))]
    norms = [params[f"GroupNorm_{n}"] for n in range(2 * len(layers) + 1)]
    assert len(params) == len(convolutions) + len(norms)
    return (
        [(each["kernel"], each["bias"]) for each in convolutions],
        [(each["scale"], each["bias"]) for each in norms],
    )


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "last"), LAYERS.values(), ids=LAYERS)
def test_products_are_convolutions(layers: Any, last: Any) -> None:
    parameters = random_parameters(layers, last)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(x: Array) -> list[Any]:
        results = []
        for compute in (residual.by_products, residual.by_convolutions):
            forward = partial(compute, layers=layers, last=last, activation=nn.silu)
            output, pull = jax.vjp(forward, x, *parameters)
            results.append((output, pull(normal(*output.shape))))
        return results

    actual, expected = map(jax.tree.leaves, both(IMAGES))
    for left, right in zip(actual, expected, strict=True):
        assert left.shape == right.shape
        np.testing.assert_allclose(left, right, rtol=0, atol=2e-5 * max(np.abs(right).max(), 1))


def network(shape: Any = (9, 10, 3), **design: Any) -> Any:
    return Autoencoder(*make_pair(Design(shape, 4, "resnet", (4, 6), **design), 4))


def test_parameters_and_their_shapes() -> None:
    model = network()
    variables = jax.eval_shape(model.init, KEY, jnp.zeros((1, 9, 10, 3)))
    convolution, norm = (lambda i, o, k=3: k * k * i * o + o), (lambda c: 2 * c)
    block = lambda c: 2 * convolution(c, c) + 2 * norm(c)  # noqa: E731
    code = 5 * 5 * 6
    expected = {
        "encoder": convolution(3, 4) + block(4) + convolution(4, 6) + block(6) + norm(6)
        # and the dense layer
        + code * 4 + 4,
        "decoder": 4 * code + code  # the dense layer
        + convolution(6, 6) + block(6) + convolution(6, 4) + block(4) + norm(4)
        + convolution(4, 3),
    }  # fmt: skip
    for half, count in expected.items():
        assert models.count_parameters({"params": variables["params"][half]}) == count
    assert set(variables["params"]["encoder"]) == {
        *(f"Conv_{n}" for n in range(6)),
        *(f"GroupNorm_{n}" for n in range(5)),
        "Dense_0",
    }


def test_it_is_described_and_built_again() -> None:
    for maps in (False, True):
        pair = make_pair(Design((9, 10, 3), 4, "resnet"), 4, maps=maps)
        model = Autoencoder(*pair)
        assert models.build(json.loads(json.dumps(models.describe(model)))) == model


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_batch() -> None:
    model, images = network(), normal(4, 9, 10, 3)
    together, variables = jax.jit(model.init_with_output)(KEY, images)
    alone = jax.jit(model.apply)(variables, images[2:3])
    np.testing.assert_allclose(alone, together[2:3], atol=1e-5)


@pytest.mark.slow
def test_replicas_and_second_derivatives() -> None:
    model, images = network(), normal(2, 9, 10, 3)
    init = jax.jit(lambda key: model.init(key, images))
    variables = [init(jax.random.key(seed, impl="rbg")) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables)
    several = jax.jit(jax.vmap(model.apply, (0, None)))(stacked, images)
    for each, expected in zip(several, variables, strict=True):
        np.testing.assert_allclose(each, jax.jit(model.apply)(expected, images), atol=1e-4)

    @jax.jit
    def slope(images: Array) -> Array:
        """Returns the squared norm of the code's gradient, whose gradient is a second one."""
        code = partial(model.apply, variables[0], method="encode")
        return jnp.square(jax.grad(lambda x: code(x).sum())(images)).sum()

    direction = jax.jit(jax.grad(slope))(images)
    length = jnp.linalg.norm(direction)
    step = 1e-2 * direction / length
    difference = slope(images + step) - slope(images - step)
    np.testing.assert_allclose(difference / 2e-2, length, rtol=0.05)


@pytest.mark.slow
def test_half_precision_is_near_float32() -> None:
    images = normal(2, 9, 10, 3)
    expected, variables = jax.jit(network().init_with_output)(KEY, images)
    narrow = network(dtype=jnp.bfloat16)
    assert jax.eval_shape(narrow.init, KEY, images) == jax.eval_shape(network().init, KEY, images)
    output = jax.jit(narrow.apply)(variables, images)
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        output.astype(jnp.float32), expected, atol=0.05 * np.abs(expected).max()
    )


@pytest.mark.slow
def test_extreme_images_have_finite_gradients() -> None:
    model = network()
    variables = jax.jit(model.init)(KEY, jnp.zeros((2, 9, 10, 3)))

    @jax.jit
    @jax.grad
    def gradient(variables: Any, images: Array) -> Array:
        return jnp.square(model.apply(variables, images)).sum()

    for value in (-1e4, 0.0, 1.0, 1e4):
        leaves = jax.tree.leaves(gradient(variables, jnp.full((2, 9, 10, 3), value)))
        assert all(np.isfinite(leaf).all() for leaf in leaves)
