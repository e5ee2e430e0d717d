"""Networks as pure functions; trained networks, printed, jitted and called."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import likelihoods, losses, models
from jaxae.errors import UserError
from jaxae.models import Autoencoder, DenseDecoder, DenseEncoder, Design
from jaxae.network import Network, Trained
from jaxae.train import Batch

SHAPE = (4, 4, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
PLAIN = Autoencoder(DenseEncoder((5,), 4), DenseDecoder((5,), SHAPE))
VARIATIONAL = models.VariationalAutoencoder(*models.make_pair(Design(SHAPE, 2, hidden=(5,)), 4))
VECTORS = models.VectorQuantizer(3, 2)
LEVELS = models.FiniteScalarQuantizer((5, 5, 5, 5))


def with_bottleneck(bottleneck: Any) -> Autoencoder:
    return Autoencoder(PLAIN.encoder, PLAIN.decoder, bottleneck=bottleneck)


def trained(model: Any = PLAIN) -> Trained:
    variables = model.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    return Trained(Network(model, likelihoods.BERNOULLI), variables)


@pytest.mark.slow
def test_a_trained_network_prints_in_one_short_line() -> None:
    count = models.count_parameters(trained().variables)
    assert repr(trained()) == f"Trained(Autoencoder, {count} parameters, likelihood bernoulli)"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["encode", "reconstruct"])
def test_a_trained_network_works_inside_jit_and_grad(method: str) -> None:
    network = trained()
    function = getattr(network, method)
    np.testing.assert_allclose(jax.jit(function)(IMAGES), function(IMAGES), rtol=1e-5)
    gradient = jax.grad(lambda images: function(images).sum())(jnp.full((2, *SHAPE), 0.5))
    assert jnp.abs(gradient).sum() > 0


def test_lists_of_images_and_codes_are_read_like_arrays() -> None:
    network: Any = trained()
    images = list(IMAGES)
    codes = network.encode(IMAGES)
    np.testing.assert_array_equal(network.encode(images), codes)
    np.testing.assert_array_equal(network.encode(IMAGES.tolist()), codes)
    np.testing.assert_array_equal(network.reconstruct(images), network.reconstruct(IMAGES))
    np.testing.assert_array_equal(network.decode(list(codes)), network.decode(codes))
    traced = jax.jit(lambda images: network.encode(list(images)))(IMAGES)
    np.testing.assert_allclose(traced, codes, rtol=1e-5)


@pytest.mark.parametrize("method", ["encode", "reconstruct", "decode"])
def test_lists_of_unequal_shapes_are_refused(method: str) -> None:
    with pytest.raises(UserError, match="of unequal shapes were given: give one array"):
        getattr(trained(), method)([np.zeros((4, 4, 1)), np.zeros((5, 4, 1))])


@pytest.mark.slow
def test_a_trained_networks_variables_have_a_gradient() -> None:
    network = trained()

    def loss(variables: Any) -> jax.Array:
        return jnp.asarray(replace(network, variables=variables).reconstruct(IMAGES)).sum()

    gradient = jax.grad(loss)(network.variables)
    assert any(jnp.abs(leaf).sum() > 0 for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        ("encode", np.zeros((2, 9, 9, 1), np.uint8), r"images of shape \(2, 9, 9, 1\)"),
        ("decode", np.zeros((2, 99), np.float32), r"codes of shape \(2, 99\).* encode returns"),
    ],
)
def test_another_shape_is_named(method: str, values: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        getattr(trained(), method)(values)


def test_codes_decode_inside_jit() -> None:
    z = jnp.ones((2, 4))
    np.testing.assert_allclose(jax.jit(trained().decode)(z), trained().decode(z), rtol=1e-5)


def test_networks_of_equal_parts_are_equal_so_that_jit_compiles_them_once() -> None:
    one, two = (Network(with_bottleneck(models.TopK(2)), likelihoods.BERNOULLI) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(("model", "has"), [(PLAIN, False), (VARIATIONAL, True)])
def test_only_a_variational_model_has_a_posterior(model: Any, has: bool) -> None:
    assert Network(model, likelihoods.BERNOULLI).has_posterior == has


@pytest.mark.parametrize(
    ("model", "group_size"),
    [
        (PLAIN, None),
        (VARIATIONAL, None),
        (with_bottleneck(models.TopK(2)), None),
        (with_bottleneck(VECTORS), 2),
        (with_bottleneck(LEVELS), 4),
    ],
)
def test_only_a_quantizing_bottleneck_is_a_quantizer(model: Any, group_size: int | None) -> None:
    quantizer = Network(model, likelihoods.BERNOULLI).quantizer
    assert (quantizer and quantizer.group_size) == group_size


@pytest.mark.slow
def test_distortion_is_the_loss_of_decoded_codes() -> None:
    network, variables = trained().network, trained().variables
    batch = Batch(jnp.asarray(IMAGES), None, None, jnp.ones(3))
    z = network.encode(variables, batch.images)
    logits = PLAIN.apply(variables, z, method="decode")
    assert isinstance(logits, jax.Array)
    expected = losses.bernoulli(logits, jnp.asarray(IMAGES, jnp.float32) / 255)
    np.testing.assert_allclose(network.distortion(variables, z, batch), expected, rtol=1e-6)
    several = network.distortions(variables, jnp.stack([z, 2 * z]), batch)
    np.testing.assert_allclose(several[0], expected, rtol=1e-6)
