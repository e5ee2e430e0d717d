"""Networks as pure functions; trained networks, printed, jitted and called."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import likelihoods, losses, models
from jaxae.data import Scaling
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


# Vectors and scalings.

VECTORS_OF_5 = np.random.default_rng(1).normal(100, 30, (7, 5)).astype(np.float32)
OF_VECTORS = Autoencoder(DenseEncoder((6,), 3), DenseDecoder((6,), (5,)))
STANDARDIZE = Scaling(offset=(100.0, 90.0, 110.0, 0.0, 50.0), scale=(30.0, 20.0, 1.0, 100.0, 7.0))


def trained_on_vectors(scaling: Scaling | None) -> Trained:
    variables = jax.jit(OF_VECTORS.init)(jax.random.key(0), jnp.zeros((1, 5)))
    network = Network(OF_VECTORS, likelihoods.GAUSSIAN_IDENTITY)
    return Trained(network, variables, scaling=scaling)


def test_vectors_of_any_range_need_no_scaling() -> None:
    network = trained_on_vectors(None)
    reconstructed = network.reconstruct(VECTORS_OF_5)
    assert reconstructed.shape == VECTORS_OF_5.shape
    np.testing.assert_allclose(reconstructed, network.decode(network.encode(VECTORS_OF_5)))
    with pytest.raises(UserError, match=r"vectors \[N, D\] of the length"):
        network.encode(VECTORS_OF_5[:, :4])


@pytest.mark.parametrize("scaling", [STANDARDIZE, Scaling((100.0,), (30.0,))])
def test_a_scaling_is_applied_to_inputs_and_undone_on_outputs(scaling: Scaling) -> None:
    plain, network = trained_on_vectors(None), trained_on_vectors(scaling)
    offset, scale = np.array(scaling.offset, np.float32), np.array(scaling.scale, np.float32)
    scaled = (VECTORS_OF_5 - offset) / scale
    codes = network.encode(VECTORS_OF_5)
    np.testing.assert_allclose(codes, plain.encode(scaled), rtol=1e-5)
    decoded = plain.decode(codes) * scale + offset
    np.testing.assert_allclose(network.decode(codes), decoded, rtol=1e-5)
    np.testing.assert_allclose(network.reconstruct(VECTORS_OF_5), decoded, rtol=1e-5)
    for method, values in (("encode", VECTORS_OF_5), ("decode", codes)):
        function = getattr(network, method)
        np.testing.assert_allclose(jax.jit(function)(values), function(values), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float64", "float16"])
def test_a_scaling_takes_numbers_of_any_type(dtype: str) -> None:
    network, numbers = trained_on_vectors(STANDARDIZE), np.rint(VECTORS_OF_5)
    expected = network.encode(numbers)
    np.testing.assert_allclose(network.encode(numbers.astype(dtype)), expected, rtol=1e-5)
    np.testing.assert_allclose(network.encode(numbers.astype(dtype).tolist()), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (VECTORS_OF_5[:, :4], r"images of shape \(7, 4\).*of other shapes"),
        (np.float32(3), r"of shape \(\)"),
        (np.full((2, 5), np.nan), "NaN"),
        (np.full((2, 5), 1e300), "cannot hold"),
        (np.array([["a"] * 5]), "dtype"),
    ],
)
def test_what_a_scaling_cannot_scale_is_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        trained_on_vectors(STANDARDIZE).encode(values)


def test_images_are_scaled_by_one_number() -> None:
    variables = trained().variables
    network = Trained(trained().network, variables, scaling=Scaling((0.0,), (16.0,)))
    digits = np.random.default_rng(0).integers(0, 17, (3, *SHAPE))
    expected = 16 * trained().reconstruct(digits.astype(np.float32) / 16)
    np.testing.assert_allclose(network.reconstruct(digits), expected, rtol=1e-5)
