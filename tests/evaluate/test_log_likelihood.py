"""The importance-sampled log-likelihood: against the linear-Gaussian evidence, and its memory."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import likelihoods, models
from jaxae.errors import UserError
from jaxae.evaluate.log_likelihood import log_likelihood
from jaxae.network import Network
from jaxae.objectives import iwae
from support import linear_gaussian
from support.linear_gaussian import NETWORK

pytestmark = pytest.mark.slow

KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
IMAGES = linear_gaussian.images(3)
EVIDENCE = linear_gaussian.log_evidence(IMAGES)


def test_with_the_exact_posterior_one_sample_gives_the_evidence() -> None:
    variables = linear_gaussian.exact_variables()
    for samples in (1, 7):
        estimate = log_likelihood(variables, KEY, IMAGES, network=NETWORK, samples=samples)
        np.testing.assert_allclose(estimate, EVIDENCE, rtol=1e-5, atol=1e-5)


def test_with_another_posterior_the_estimate_converges_to_the_evidence() -> None:
    estimate = partial(log_likelihood, linear_gaussian.mismatched_variables(), network=NETWORK)
    keys = jax.random.split(KEY, 8)
    few, many = (
        np.stack([estimate(key, IMAGES, samples=n, chunk=1000) for key in keys]) - EVIDENCE
        for n in (5, 20_000)
    )
    error = many.std(axis=0) / len(keys) ** 0.5
    assert (np.abs(many.mean(axis=0)) < 5 * error + 1e-4).all()
    assert (np.abs(many) < 0.1).all()
    assert (np.abs(many).mean(axis=0) < 0.1 * np.abs(few).mean(axis=0)).all()


def test_the_estimate_is_the_same_for_any_chunk_and_is_the_bound() -> None:
    variables = linear_gaussian.mismatched_variables()
    key = jax.random.key(0)  # of threefry: unlike rbg's, its numbers are the same under vmap
    estimate = partial(log_likelihood, variables, key, IMAGES, network=NETWORK, samples=7)
    expected = estimate(chunk=7)
    for chunk in (1, 3):  # 7 is no multiple of 3
        np.testing.assert_allclose(estimate(chunk=chunk), expected, rtol=1e-6)
    terms = iwae(variables, key, linear_gaussian.batch_of(IMAGES), network=NETWORK, samples=7)
    np.testing.assert_allclose(-terms.loss, expected, rtol=1e-6)


def test_memory_is_that_of_a_chunk() -> None:
    shape = (16, 16, 1)
    model = models.VariationalAutoencoder(
        models.DenseEncoder((), 4), models.DenseDecoder((), shape)
    )
    images = jnp.zeros((8, *shape), jnp.uint8)
    variables = model.init(KEY, jnp.zeros((8, *shape)))

    def temporary_bytes(samples: int, chunk: int) -> int:
        lowered = log_likelihood.lower(
            variables,
            KEY,
            images,
            network=Network(model, likelihoods.BERNOULLI),
            samples=samples,
            chunk=chunk,
        )
        analysis = lowered.compile().memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    all_logits = 5000 * images.size * 4
    assert temporary_bytes(5000, 5000) > all_logits
    assert temporary_bytes(5000, 10) < all_logits / 20


def test_unlikely_images_have_a_finite_and_exact_likelihood() -> None:
    variables = jax.tree.map(jnp.zeros_like, linear_gaussian.exact_variables())
    variables["params"]["decoder"]["Dense_0"]["bias"] += 1e3  # each black pixel costs 1000 nats
    images = jnp.zeros((2, *linear_gaussian.SHAPE), jnp.uint8).at[1].set(255)
    estimate = log_likelihood(
        variables, KEY, images, network=Network(NETWORK.model, likelihoods.BERNOULLI), samples=50
    )
    np.testing.assert_allclose(estimate, [-4000, 0], rtol=1e-6, atol=1e-3)


def test_uint8_images_equal_floats_and_labels_condition() -> None:
    pair = models.DenseEncoder((), 4), models.DenseDecoder((), (2, 2, 1))
    model = models.VariationalAutoencoder(*pair, classes=3)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 2, 2, 1), np.uint8) * 255)
    labels = jnp.array([0, 1, 2, 0])
    variables = model.init(KEY, jnp.zeros((4, 2, 2, 1)), labels)
    estimate = partial(
        log_likelihood,
        variables,
        KEY,
        network=Network(model, likelihoods.BERNOULLI),
        samples=5,
        chunk=2,
    )
    expected = estimate(images, labels)
    np.testing.assert_allclose(estimate(images / 255, labels), expected, rtol=1e-6)
    changed = estimate(images, labels.at[1].set(2))
    np.testing.assert_array_equal(changed != expected, [False, True, False, False])
    with pytest.raises(UserError, match="no labels"):
        estimate(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples = 0"),
        ({"chunk": 0}, "chunk = 0"),
        ({"network": replace(NETWORK, likelihood=likelihoods.GAUSSIAN_SIGMOID)}, "squared error"),
        (
            {"network": replace(NETWORK, model=models.fashion(linear_gaussian.SHAPE))},
            "Autoencoder, which has no posterior",
        ),
    ],
)
def test_what_has_no_likelihood_is_refused(change: Any, message: str) -> None:
    settings = {"network": NETWORK, "samples": 5, **change}
    with pytest.raises(UserError, match=message):
        log_likelihood(linear_gaussian.exact_variables(), KEY, IMAGES, **settings)
