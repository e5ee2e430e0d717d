"""Importance-weighted bounds: against the linear-Gaussian evidence, and against each other."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats
from scipy.special import logsumexp

from jaxae import likelihoods, models
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives import (
    ciwae,
    iwae,
    log_mean_exp,
    log_weights,
    miwae,
    negative_elbo,
    piwae,
)
from jaxae.train import Batch
from support import linear_gaussian
from support.linear_gaussian import GAUSSIAN, NETWORK, batch_of

pytestmark = pytest.mark.slow

KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
IMAGES = linear_gaussian.images(3)
BOUNDS: dict[str, Callable] = {
    "iwae": partial(iwae, samples=4),
    "miwae": partial(miwae, samples=3, groups=2),
    "piwae": partial(piwae, samples=3, groups=2),
    "ciwae": partial(ciwae, samples=4, mixture=0.3),
}
every_bound = pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS.keys())

# A conditional network, for tests that need no closed form.
PAIR = models.DenseEncoder((), 4), models.DenseDecoder((5,), (3, 2, 1))
MODEL = models.VariationalAutoencoder(*PAIR, classes=3)
BATCH = Batch(
    jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 3, 2, 1), np.uint8)),
    jnp.array([0, 2, 1, 2]),
    None,
    jnp.array([1.0, 1, 1, 0]),
)
CONDITIONAL = Network(MODEL, likelihoods.BERNOULLI)
VARIABLES = MODEL.init(KEY, jnp.zeros((4, 3, 2, 1)), BATCH.labels)


@cache
def loss_and_gradient(bound: Callable, **settings: Any) -> tuple[Array, Any]:
    """Returns the conditional network's loss [B], and the gradient of its sum."""

    def summed(variables: Any) -> tuple[Array, Array]:
        loss = bound(variables, KEY, BATCH, network=CONDITIONAL, **settings).loss
        return loss.sum(), loss

    gradient, loss = jax.jit(jax.grad(summed, has_aux=True))(VARIABLES)
    return loss, gradient["params"]


def assert_close(actual: Any, expected: Any) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), actual, expected)


# The linear-Gaussian model.


def test_log_weights_are_the_joint_density_over_the_posterior() -> None:
    keys = jax.random.split(KEY, 4)
    variables, batch = linear_gaussian.mismatched_variables(), batch_of(IMAGES)
    posterior = NETWORK.posterior(variables, batch.network_inputs, batch.labels)
    distortions = partial(NETWORK.distortions, variables, batch=batch)
    actual = jax.jit(log_weights, static_argnums=2)(keys, posterior, distortions)
    noise = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (3, 2)))(keys), np.float64)
    scale = np.exp(np.asarray(posterior.log_variance, np.float64) / 2)
    z = np.asarray(posterior.mean, np.float64) + scale * noise
    mean = z @ linear_gaussian.WEIGHTS.T + linear_gaussian.BIAS
    flat = np.asarray(IMAGES).reshape(3, -1)
    scale_of_noise = linear_gaussian.NOISE_VARIANCE**0.5
    expected = stats.norm.logpdf(flat, mean, scale_of_noise).sum(axis=2)
    expected += stats.norm.logpdf(z).sum(axis=2)
    expected -= stats.norm.logpdf(z, posterior.mean, scale).sum(axis=2)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    np.testing.assert_allclose(
        log_mean_exp(actual), logsumexp(expected, axis=0) - np.log(4), rtol=1e-5
    )


@every_bound
def test_with_the_exact_posterior_every_bound_is_the_evidence(bound: Callable) -> None:
    objective = jax.jit(partial(bound, network=NETWORK))
    terms = objective(linear_gaussian.exact_variables(), KEY, batch_of(IMAGES))
    evidence = linear_gaussian.log_evidence(IMAGES)
    for value in (terms.loss, terms.metrics["negative_elbo"], terms.metrics["negative_bound"]):
        np.testing.assert_allclose(-value, evidence, rtol=1e-5, atol=1e-5)


DRAWS = 10_000


def draws_of(objective: Callable, **settings: Any) -> np.ndarray:
    """Returns draws of the bound of one image, float64 [DRAWS]."""
    variables = linear_gaussian.mismatched_variables()
    batch = batch_of(jnp.tile(IMAGES[:1], (DRAWS, 1, 1, 1)))
    terms = jax.jit(partial(objective, network=NETWORK, **settings))(variables, KEY, batch)
    return -np.asarray(terms.loss, np.float64)


def standard_error(draws: np.ndarray) -> float:
    return float(draws.std() / len(draws) ** 0.5)


def test_bounds_grow_from_the_elbo_with_samples_and_stay_below_the_evidence() -> None:
    bounds = [draws_of(iwae, samples=samples) for samples in (1, 3, 20)]
    elbo = draws_of(negative_elbo)
    error = 4 * (standard_error(elbo) + standard_error(bounds[0]))
    np.testing.assert_allclose(bounds[0].mean(), elbo.mean(), atol=error)
    for looser, tighter in itertools.pairwise(bounds):
        error = 4 * (standard_error(looser) + standard_error(tighter))
        assert tighter.mean() > looser.mean() + error
    evidence = linear_gaussian.log_evidence(IMAGES[:1])[0]
    assert bounds[-1].mean() < evidence + 4 * standard_error(bounds[-1])
    assert evidence - bounds[-1].mean() < 0.1 * (evidence - bounds[0].mean())


def test_groups_have_the_mean_of_one_and_less_variance() -> None:
    one, four = draws_of(iwae, samples=3), draws_of(miwae, samples=3, groups=4)
    error = 4 * (standard_error(one) + standard_error(four))
    np.testing.assert_allclose(four.mean(), one.mean(), atol=error)
    np.testing.assert_allclose(four.var(), one.var() / 4, rtol=0.2)


# Bounds against each other.


@pytest.mark.parametrize("bound", [miwae, piwae])
def test_one_group_is_the_iwae(bound: Callable) -> None:
    assert_close(loss_and_gradient(bound, samples=4, groups=1), loss_and_gradient(iwae, samples=4))


@pytest.mark.parametrize(
    ("bound", "settings"),
    [(iwae, {}), (miwae, {"groups": 1}), (piwae, {"groups": 1}), (ciwae, {"mixture": 0.3})],
)
def test_one_sample_is_the_elbo(bound: Callable, settings: dict[str, Any]) -> None:
    assert_close(
        loss_and_gradient(bound, samples=1, **settings),
        loss_and_gradient(ciwae, samples=1, mixture=1.0),
    )


def test_ciwae_mixes_the_elbo_and_the_iwae_of_the_same_samples() -> None:
    elbo = loss_and_gradient(miwae, samples=1, groups=4)  # the mean over samples
    bound = loss_and_gradient(iwae, samples=4)
    assert np.any(bound[0] < elbo[0] - 1e-3)
    mixed = jax.tree.map(lambda a, b: 0.3 * a + 0.7 * b, elbo, bound)
    assert_close(loss_and_gradient(ciwae, samples=4, mixture=0.3), mixed)


def test_piwae_gives_the_encoder_miwaes_gradient_and_the_decoder_iwaes() -> None:
    loss, gradient = loss_and_gradient(piwae, samples=3, groups=2)
    bound, decoders = loss_and_gradient(iwae, samples=6)
    _, encoders = loss_and_gradient(miwae, samples=3, groups=2)
    assert_close(loss, bound)
    expected = {**encoders, "decoder": decoders["decoder"]}
    assert set(expected) == {"encoder", "decoder", "label_images"}
    assert_close(gradient, expected)
    for one, other in ((encoders, "encoder"), (encoders, "label_images"), (decoders, "decoder")):
        mixed_up = encoders if one is decoders else decoders
        differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), one[other], mixed_up[other])
        assert max(jax.tree.leaves(differences)) > 1e-4  # so that the test can tell them apart


# Properties of each bound.


@every_bound
def test_terms_are_per_example_and_padding_reaches_no_other(bound: Callable) -> None:
    objective = jax.jit(partial(bound, network=CONDITIONAL))
    terms = objective(VARIABLES, KEY, BATCH)
    assert {leaf.shape for leaf in jax.tree.leaves(terms)} == {(4,)}
    changed = objective(
        VARIABLES, KEY, replace(BATCH, images=BATCH.images.at[3].set(255 - BATCH.images[3]))
    )
    assert_close(changed.loss[:3], terms.loss[:3])
    assert changed.loss[3] != terms.loss[3]


def test_terms_are_the_same_jitted_or_not_and_for_replicas() -> None:
    objective = partial(BOUNDS["piwae"], network=CONDITIONAL)
    other = jax.tree.map(lambda leaf: leaf + 0.1, VARIABLES)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), VARIABLES, other)
    replicas = jax.jit(jax.vmap(objective, (0, None, None)))(both, KEY, BATCH)
    separate = [objective(variables, KEY, BATCH) for variables in (VARIABLES, other)]
    assert_close(replicas, jax.tree.map(lambda *leaves: jnp.stack(leaves), *separate))


@every_bound
def test_extreme_posteriors_and_logits_are_finite(bound: Callable) -> None:
    network = Network(NETWORK.model, likelihoods.BERNOULLI)
    batch = batch_of(jnp.zeros((2, 2, 2, 1)))
    value_and_gradient = jax.jit(
        jax.value_and_grad(
            lambda variables: bound(variables, KEY, batch, network=network).loss.sum()
        )
    )
    for log_variance in (-1e3, -100.0, 80.0):
        variables = jax.tree.map(jnp.zeros_like, linear_gaussian.exact_variables())
        variables["params"]["encoder"]["Dense_0"]["bias"] += jnp.array([1e3, 0, log_variance, 0])
        variables["params"]["decoder"]["Dense_0"]["bias"] += jnp.array([1e3, -1e3, 0, 1])
        value, gradient = value_and_gradient(variables)
        assert value > 1e3
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradient)))


@pytest.mark.parametrize(
    ("bound", "settings", "message"),
    [
        (iwae, {"samples": 0}, "samples = 0"),
        (miwae, {"samples": 2, "groups": 0}, "groups = 0"),
        (piwae, {"samples": -1, "groups": 2}, "samples = -1"),
        (ciwae, {"mixture": 1.5}, r"mixture = 1\.5"),
    ],
)
def test_wrong_settings_are_refused(bound: Callable, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bound(
            linear_gaussian.exact_variables(),
            KEY,
            batch_of(IMAGES),
            network=Network(NETWORK.model, GAUSSIAN),
            **settings,
        )
