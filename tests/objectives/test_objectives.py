"""Objectives: a table of them, the properties that all share, then tests of single ones."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.scipy.stats import multivariate_normal
from scipy import stats

from jaxae import likelihoods, losses, metrics, models, objectives
from jaxae.family import FAMILY, Context, Member, defaults_of
from jaxae.network import Network, apply
from jaxae.train import Batch, Objective, Terms, pixels
from support import linear_gaussian
from support.published_networks import NETWORKS, some_variables

SHAPE = (3, 4, 2)
BYTES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8))
# This generator compiles several times faster than the default.
KEY, OTHER_KEY = jax.random.split(jax.random.key(0, impl="rbg"))
MODEL, LIKELIHOOD = models.vae(SHAPE, latent=2), likelihoods.GAUSSIAN_TANH
VARIABLES = some_variables(MODEL, SHAPE)
NETWORK = Network(MODEL, LIKELIHOOD)


def batch_of(images: Array, inputs: Array | None = None) -> Batch:
    return Batch(images, None, inputs, jnp.ones(images.shape[0]))


def spy(seen: list[Any]) -> Objective:
    """Returns an objective that records the key and the batch that it is given."""

    def objective(variables: Any, key: Array, batch: Batch) -> Terms:
        seen.append((key, batch))
        return Terms(jnp.zeros(batch.images.shape[0]))

    return objective


# The table: functions that make each objective from the keyword `network`.


def over_reconstruction(variant: Callable, **options: Any) -> Callable[..., Objective]:
    """Returns a maker of a variant that calls another objective, here reconstruction."""
    inner = objectives.reconstruction
    return lambda **of: partial(variant, objective=partial(inner, **of), **options)


OBJECTIVES = {
    "reconstruction": lambda **of: partial(objectives.reconstruction, per_pixel=True, **of),
    "denoising": over_reconstruction(
        objectives.denoising, corrupt=partial(objectives.add_gaussian_noise, noise=0.5)
    ),
    "dynamically_binarized": over_reconstruction(objectives.dynamically_binarized),
    "negative_elbo": lambda **of: partial(objectives.negative_elbo, beta=0.5, **of),
    "with_image_errors": lambda **of: over_reconstruction(objectives.with_image_errors, **of)(**of),
}


def test_the_table_has_every_objective() -> None:
    functions = inspect.getmembers(objectives, inspect.isfunction)
    made = {n for n, f in functions if inspect.signature(f).return_annotation is Terms}
    # The others are in the family's table, and are tested with it, or in test_warmup.py.
    assert made - set(OBJECTIVES) - {"kl_warmup"} <= {
        function_of(member) for member in FAMILY.values()
    }
    assert set(OBJECTIVES) <= made


def function_of(member: Member) -> str:
    """Returns the name of the function that a member of the family minimizes."""
    made: Any = member.make_objective(Context(NETWORK, 1, defaults_of(member.settings)))
    while isinstance(made, partial):
        made = made.func
    return made.__name__


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_terms_are_per_example_and_the_same_for_floats_and_jitted(name: str) -> None:
    objective = OBJECTIVES[name](network=NETWORK)
    terms = objective(VARIABLES, KEY, batch_of(BYTES))
    jitted = jax.jit(objective)
    assert {leaf.shape for leaf in jax.tree.leaves(terms)} == {(3,)}
    for images in (BYTES, pixels(BYTES)):
        same = jitted(VARIABLES, KEY, batch_of(images))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4), terms, same)
    # No example may depend on another, because another may be padding.
    changed = jitted(VARIABLES, KEY, batch_of(BYTES.at[1:].set(255 - BYTES[1:])))
    np.testing.assert_allclose(changed.loss[0], terms.loss[0], rtol=1e-4)
    assert (changed.loss[1:] != terms.loss[1:]).all()


PUBLISHED = {
    "fashion": (likelihoods.BERNOULLI, SHAPE),
    "denoise": (likelihoods.BERNOULLI, (8, 8, 1)),
    "latent2d": (likelihoods.GAUSSIAN_SIGMOID, (8, 8, 1)),
    "latent3d": (likelihoods.GAUSSIAN_TANH, SHAPE),
    "conv": (likelihoods.GAUSSIAN_TANH, (16, 16, 1)),
    "deep": (likelihoods.GAUSSIAN_RELU, SHAPE),
    "vae": (likelihoods.BERNOULLI, SHAPE),
}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_of_each_published_network(network: str) -> None:
    likelihood, shape = PUBLISHED[network]
    model: nn.Module = NETWORKS[network].make(shape)
    batch = batch_of(jnp.zeros((2, *shape), jnp.uint8).at[1:].set(255))  # all black and all white
    made = {
        name: make(network=Network(model, likelihood))
        for name, make in OBJECTIVES.items()
        if name != "negative_elbo" or isinstance(model, models.VariationalAutoencoder)
    }

    def gradient(objective: Objective, variables: Any) -> Any:
        return jax.grad(lambda variables: objective(variables, KEY, batch).loss.sum())(variables)

    compiled = jax.jit(lambda variables: {n: gradient(made[n], variables) for n in made})
    for name, gradients in compiled(some_variables(model, shape)).items():
        for leaf in jax.tree.leaves(gradients):
            assert np.isfinite(leaf).all(), name
            assert np.any(leaf), name  # each parameter has an effect


# Reconstruction.


def test_reconstruction_is_the_loss_of_the_logits() -> None:
    scaled = jnp.asarray(np.asarray(BYTES, np.float32) / 127.5 - 1)
    expected = losses.squared_error(jnp.tanh(apply(MODEL, VARIABLES, scaled)), scaled)
    terms = objectives.reconstruction(VARIABLES, KEY, batch_of(BYTES), network=NETWORK)
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-5)
    terms = objectives.reconstruction(
        VARIABLES, KEY, batch_of(BYTES), per_pixel=True, network=NETWORK
    )
    np.testing.assert_allclose(terms.loss, expected / (3 * 4 * 2), rtol=1e-5)


@pytest.mark.parametrize("objective", [objectives.reconstruction, objectives.negative_elbo])
def test_the_network_reads_the_inputs_and_the_loss_the_images(objective: Callable) -> None:
    white = jnp.full_like(BYTES, 255)

    def loss(images: Array, inputs: Array | None = None) -> Array:
        return objective(VARIABLES, KEY, batch_of(images, inputs), network=NETWORK).loss

    np.testing.assert_allclose(loss(BYTES, BYTES), loss(BYTES))
    assert (loss(BYTES, white) != loss(BYTES)).all()
    assert (loss(white, BYTES) != loss(BYTES)).all()


# Denoising.


def test_denoising_corrupts_only_the_inputs() -> None:
    seen: list[Any] = []
    for key in (KEY, OTHER_KEY):
        objectives.denoising(
            {},
            key,
            batch_of(BYTES),
            objective=spy(seen),
            corrupt=partial(objectives.add_gaussian_noise, noise=0.5),
        )
    (key, batch), (_, other) = seen
    for used in (KEY, key):  # the inner objective must get other noise
        assert np.any(objectives.add_gaussian_noise(used, BYTES, 0.5) != batch.inputs)
    np.testing.assert_array_equal(batch.images, BYTES)
    assert np.mean(batch.inputs != pixels(BYTES)) > 0.9
    assert np.mean(batch.inputs != other.inputs) > 0.5  # fresh, although many are clipped to 0 or 1


def test_denoising_without_noise_is_reconstruction() -> None:
    reconstruction = partial(objectives.reconstruction, network=NETWORK)
    arguments = (VARIABLES, KEY, batch_of(BYTES))
    terms = objectives.denoising(
        *arguments,
        objective=reconstruction,
        corrupt=partial(objectives.add_gaussian_noise, noise=0.0),
    )
    np.testing.assert_allclose(terms.loss, reconstruction(*arguments).loss)


def test_gaussian_noise_is_gaussian_before_it_is_clipped() -> None:
    gray = jnp.full((100, 10, 10, 1), 0.5)
    noisy = objectives.add_gaussian_noise(KEY, gray, 0.05)
    assert stats.kstest(np.ravel(noisy), stats.norm(0.5, 0.05).cdf).pvalue > 1e-3


@pytest.mark.slow
def test_gaussian_noise_is_clipped_to_the_range_of_pixels() -> None:
    images = jnp.tile(jnp.array([0, 255], jnp.uint8)[:, None, None, None], (1, 50, 50, 1))
    noisy = objectives.add_gaussian_noise(KEY, images, 0.5)
    assert noisy.dtype == jnp.float32
    assert (noisy.min(), noisy.max()) == (0, 1)
    # Half of a black image's noise is clipped, and half of a white image's.
    assert (np.abs(np.mean([noisy[0] == 0, noisy[1] == 1], axis=(1, 2, 3)) - 0.5) < 0.05).all()


# Binarization.


@pytest.mark.slow
def test_binarized_pixels_are_as_frequent_as_they_are_bright() -> None:
    draws = 4000
    images = jnp.tile(jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1), (draws, 1, 1, 1))
    binary = objectives.binarize(KEY, images)
    assert binary.dtype == jnp.uint8
    assert set(np.unique(binary)) == {0, 255}
    probabilities = np.arange(256) / 255
    error = (probabilities * (1 - probabilities) / draws) ** 0.5
    frequencies = np.mean(binary.reshape(draws, 256) == 255, axis=0)
    assert (np.abs(frequencies - probabilities) <= 5 * error).all()  # 0 and 255 always stay
    np.testing.assert_array_equal(objectives.binarize(KEY, images), binary)
    assert np.mean(objectives.binarize(OTHER_KEY, images) != binary) > 0.3


def test_dynamic_binarization_draws_the_images_and_another_key() -> None:
    seen: list[Any] = []
    for key in (KEY, OTHER_KEY):
        objectives.dynamically_binarized({}, key, batch_of(BYTES), objective=spy(seen))
    (key, batch), (_, other) = seen
    assert set(np.unique(batch.images)) == {0, 255}
    assert np.any(batch.images != other.images)
    for used in (KEY, key):  # the inner objective's noise must be independent of the pixels
        assert np.any(objectives.binarize(used, BYTES) != batch.images)


# The evidence lower bound.


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_terms_add_up_and_beta_weighs_only_the_kl(beta: float) -> None:
    terms = objectives.negative_elbo(VARIABLES, KEY, batch_of(BYTES), network=NETWORK, beta=beta)
    unweighted = objectives.negative_elbo(VARIABLES, KEY, batch_of(BYTES), network=NETWORK)
    jax.tree.map(np.testing.assert_array_equal, terms.metrics, unweighted.metrics)
    reconstruction, kl = terms.metrics["reconstruction"], terms.metrics["kl"]
    assert (kl > 0.01).all()
    np.testing.assert_allclose(terms.metrics["negative_elbo"], reconstruction + kl, rtol=1e-6)
    np.testing.assert_allclose(terms.loss, reconstruction + beta * kl, rtol=1e-6)


@pytest.mark.slow
def test_the_gradient_of_the_elbo_at_the_exact_posterior_is_that_of_the_evidence() -> None:
    samples = 200_000
    image = linear_gaussian.images(1)
    batch = batch_of(jnp.tile(image, (samples, 1, 1, 1)))

    def mean_loss(variables: Any) -> Array:
        terms = objectives.negative_elbo(variables, KEY, batch, network=linear_gaussian.NETWORK)
        return terms.loss.mean()

    def negative_log_evidence(weights: Array) -> Array:
        noise = linear_gaussian.NOISE_VARIANCE * jnp.eye(4)
        bias = jnp.asarray(linear_gaussian.BIAS)
        covariance = weights @ weights.T + noise
        return -jnp.asarray(multivariate_normal.logpdf(image.reshape(-1), bias, covariance))

    gradient = jax.grad(mean_loss)(linear_gaussian.exact_variables())["params"]
    # Fisher's identity gives the decoder's; the encoder is at its optimum. The tolerance is about
    # five standard errors.
    expected = jax.grad(negative_log_evidence)(jnp.asarray(linear_gaussian.WEIGHTS))
    np.testing.assert_allclose(gradient["decoder"]["Dense_0"]["kernel"].T, expected, atol=0.04)
    for leaf in jax.tree.leaves(gradient["encoder"]):
        np.testing.assert_allclose(leaf, 0, atol=0.04)


# Functions for evaluation and pictures.


def test_image_errors_are_those_of_the_reconstruction_read_from_the_inputs() -> None:
    inputs = 255 - BYTES
    batch = batch_of(BYTES, inputs)
    objective = partial(objectives.negative_elbo, network=NETWORK)
    terms = objectives.with_image_errors(
        VARIABLES, KEY, batch, objective=objective, network=NETWORK
    )
    plain = objective(VARIABLES, KEY, batch)
    images, targets = NETWORK.reconstruct(VARIABLES, inputs), pixels(BYTES)
    errors = {"mse": metrics.mse(images, targets), "psnr": metrics.psnr(images, targets)}
    expected = replace(plain, metrics={**plain.metrics, **errors})
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), terms, expected)


def test_reconstruct_decodes_what_encode_gives() -> None:
    codes = NETWORK.encode(VARIABLES, BYTES)
    scaled = LIKELIHOOD.scale(pixels(BYTES))
    posterior = apply(MODEL, VARIABLES, scaled, method="posterior")
    np.testing.assert_allclose(codes, posterior.mean, rtol=1e-4, atol=1e-6)
    images = NETWORK.reconstruct(VARIABLES, BYTES)
    assert images.shape == BYTES.shape
    logits = apply(MODEL, VARIABLES, scaled)
    np.testing.assert_allclose(images, (np.tanh(logits) + 1) / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(NETWORK.decode(VARIABLES, codes), images, rtol=1e-4)
