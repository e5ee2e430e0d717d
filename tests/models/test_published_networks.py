"""The published networks: a table with facts about each, and the properties that all share."""

import inspect
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae import models
from jaxae.errors import UserError
from jaxae.models import Shape, published, stacks
from jaxae.models.autoencoders import identity
from support.published_networks import (
    MNIST,
    NETWORKS,
    PublishedNetwork,
    every_network,
    some_variables,
)

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, *MNIST)), jnp.float32)


ACTIVATIONS = {"R": nn.relu, "L": published.leaky_relu, "I": identity}


@contextmanager
def recorded_layers() -> Iterator[list[tuple[Array, Array]]]:
    """Yields a list that collects the input and output of each layer with parameters."""
    recorded = []

    def record(call, arguments, keywords, context):
        output = call(*arguments, **keywords)
        if isinstance(context.module, nn.Dense):
            recorded.append((arguments[0], output))
        return output

    def one_by_one(x: Array, parameters: stacks.Parameters, *, layers: stacks.Layers) -> Array:
        for kernel_and_bias, (layer, activation) in zip(parameters, layers, strict=True):
            affine = [(replace(layer, pool=None, upsample=1), identity)]
            recorded.append((x, stacks.by_convolutions(x, [kernel_and_bias], layers=affine)))
            x = stacks.by_convolutions(x, [kernel_and_bias], layers=[(layer, activation)])
        return x

    with nn.intercept_methods(record), pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "by_products", one_by_one)
        yield recorded


# The table.


def test_the_table_has_every_published_network() -> None:
    made = {
        name
        for name, function in inspect.getmembers(published, inspect.isfunction)
        if function.__module__ == published.__name__
        and "shape" in inspect.signature(function).parameters
    }
    assert made == set(NETWORKS)


@every_network
def test_parameters(network: PublishedNetwork) -> None:
    model = network.make(MNIST)
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    assert models.count_parameters(variables) == network.parameters
    assert set(variables) == {"params"}


@every_network
def test_path(network: PublishedNetwork) -> None:
    with recorded_layers() as layers:
        jax.eval_shape(network.make(MNIST).init, jax.random.key(0), IMAGES)
    shapes = [array.shape[1:] for layer in layers for array in layer]
    path = ["x".join(map(str, shape)) for shape, _ in itertools.groupby(shapes)]
    assert path == network.path.split()


@pytest.mark.slow
@every_network
def test_activations(network: PublishedNetwork) -> None:
    model = network.make(MNIST)
    apply: Any = partial(model.apply, some_variables(model))
    with recorded_layers() as layers:
        logits = apply(IMAGES)
    assert len(network.activations) == len(layers) - 1
    for name, (_, output), (following, _) in zip(
        network.activations, layers, layers[1:], strict=False
    ):
        # A pool and an upsampling move and repeat values, and a posterior's mean is half of them;
        # none adds a new value. Values of one sign would not tell the activations apart.
        assert np.isin(following, ACTIVATIONS[name](output)).all()
        assert output.min() < 0 < output.max()
    np.testing.assert_array_equal(np.ravel(logits), np.ravel(layers[-1][1]))


def test_leaky_relu_has_the_slope_of_keras() -> None:
    np.testing.assert_allclose(published.leaky_relu(jnp.array([-2.0, 3.0])), [-0.6, 3])


# Methods.


@pytest.mark.slow
@every_network
def test_a_call_decodes_the_code(network: PublishedNetwork) -> None:
    model = network.make(MNIST)
    apply: Any = partial(jax.jit(model.apply, static_argnames="method"), some_variables(model))
    code = apply(IMAGES, method="encode")
    assert code.shape == (2, *network.code)
    logits = apply(code, method="decode")
    assert logits.shape == IMAGES.shape
    np.testing.assert_allclose(logits, apply(IMAGES), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits[1:], apply(IMAGES[1:]), rtol=1e-4, atol=1e-5)


def test_vae_encodes_to_the_mean_of_its_posterior() -> None:
    model = models.vae(MNIST, latent=4)
    apply: Any = partial(model.apply, some_variables(model))
    posterior = apply(IMAGES, method="posterior")
    np.testing.assert_array_equal(apply(IMAGES, method="encode"), posterior.mean)
    output = apply(IMAGES, method=lambda model, x: model.encoder(x))
    halves = np.concatenate([posterior.mean, posterior.log_variance], axis=1)
    np.testing.assert_array_equal(output, halves)
    assert posterior.mean.shape == (2, 4)


@every_network
def test_equal_networks_share_a_compilation(network: PublishedNetwork) -> None:
    first, second = network.make(MNIST), network.make(MNIST)
    assert first == second
    assert hash(first) == hash(second)
    assert first != network.make((28, 28, 3))


# Other images and other codes.


def pairs(field: str) -> pytest.MarkDecorator:
    """Parametrizes a test by each network and each of the shapes in a field of its row."""
    return pytest.mark.parametrize(
        ("network", "shape"),
        [
            pytest.param(network, shape, id=f"{name}-{shape}")
            for name, network in NETWORKS.items()
            for shape in getattr(network, field)
        ],
    )


@pairs("works")
def test_images_that_a_network_reproduces(network: PublishedNetwork, shape: Shape) -> None:
    x = jnp.zeros((2, *shape))
    logits, _ = jax.eval_shape(network.make(shape).init_with_output, jax.random.key(0), x)
    assert logits.shape == x.shape


@pairs("fails")
def test_images_that_a_network_does_not_reproduce(network: PublishedNetwork, shape: Shape) -> None:
    message = f"images of {'x'.join(map(str, shape))} into .*choose"
    with pytest.raises(UserError, match=message):
        jax.eval_shape(network.make(shape).init, jax.random.key(0), jnp.zeros((2, *shape)))


@pytest.mark.parametrize("name", ["fashion", "latent2d", "latent3d", "deep", "vae"])
def test_other_codes(name: str) -> None:
    make = NETWORKS[name].make
    encode = partial(make(MNIST, latent=7).init_with_output, method="encode")
    code, _ = jax.eval_shape(encode, jax.random.key(0), IMAGES)
    assert code.shape == (2, 7)
    for latent in (0, -1):
        with pytest.raises(UserError, match=f"latent of {latent} .*1 or more"):
            make(MNIST, latent=latent)


# Initial values; test_layers.py tests their distributions.


def kernel_bound(framework: str, transposed: bool, shape: tuple[int, ...]) -> float:
    """Returns the largest initial magnitude of a kernel [..., in, out]."""
    fan_in, fan_out = (length * math.prod(shape[:-2]) for length in shape[-2:])
    return {
        "keras": (6 / (fan_in + fan_out)) ** 0.5,
        "pytorch": (fan_out if transposed else fan_in) ** -0.5,
        "lecun": 2 / 0.8796 * fan_in**-0.5,
    }[framework]


@pytest.mark.slow
@every_network
def test_initial_values(network: PublishedNetwork) -> None:
    key = jax.random.key(0, impl="rbg")  # compiles several times faster than the default
    variables = jax.jit(network.make(MNIST).init)(key, IMAGES)
    for half in variables["params"].values():
        for name, layer in half.items():
            transposed = name.startswith("ConvTranspose")
            bound = kernel_bound(network.framework, transposed, layer["kernel"].shape)
            assert 0.8 * bound < np.abs(layer["kernel"]).max() <= bound * 1.0001
            if network.framework == "pytorch":
                assert 0 < np.abs(layer["bias"]).max() <= bound
            else:
                np.testing.assert_array_equal(layer["bias"], 0)
