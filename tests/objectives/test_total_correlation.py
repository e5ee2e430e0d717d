"""The beta-TC objective: against a plain computation of its estimator, and its limits."""

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats
from scipy.special import logsumexp

from jaxae.errors import UserError
from jaxae.models import Gaussian
from jaxae.objectives import beta_tc
from jaxae.objectives.posterior import codes_at, sampled_kl
from jaxae.objectives.total_correlation import kl_parts, log_densities, log_shares
from support import linear_gaussian
from support.linear_gaussian import NETWORK, batch_of

KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
RANDOM = np.random.default_rng(0)
COUNT, LATENT, SIZE = 4, 3, 50
MEAN, LOG_VARIANCE, NOISE = (
    jnp.asarray(RANDOM.normal(size=(COUNT, LATENT)), jnp.float32) for _ in range(3)
)
POSTERIOR = Gaussian(MEAN, LOG_VARIANCE)
PARTS = ("mutual_information", "total_correlation", "dimension_wise_kl")


def plain_parts(log_aggregate: np.ndarray, log_marginals: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the three parts, float64 [B], from log q(z) and the sum of its marginals' logs."""
    z = codes()
    scale = np.exp(np.asarray(LOG_VARIANCE, np.float64) / 2)
    log_posterior = stats.norm.logpdf(z, MEAN, scale).sum(axis=1)
    log_prior = stats.norm.logpdf(z).sum(axis=1)
    return {
        "mutual_information": log_posterior - log_aggregate,
        "total_correlation": log_aggregate - log_marginals,
        "dimension_wise_kl": log_marginals - log_prior,
    }


def codes() -> np.ndarray:
    return np.asarray(codes_at(POSTERIOR, NOISE), np.float64)


def plain_densities() -> np.ndarray:
    """q(z_i | x_j) of each dimension, float64 [B, B, latent]."""
    scale = np.exp(np.asarray(LOG_VARIANCE, np.float64) / 2)
    return stats.norm.pdf(codes()[:, None], np.asarray(MEAN)[None], scale[None])


def stratified(densities: np.ndarray, first: int, size: int) -> float:
    """Averages Chen et al. 2018, appendix C, over all orders of the others in the batch."""
    orders = list(itertools.permutations(set(range(len(densities))) - {first}))
    total = 0.0
    for order in orders:
        count = len(order)
        total += densities[first] / size
        for other in order[:-1]:
            total += densities[other] / count
        total += densities[order[-1]] * (size - count) / (size * count)
    return total / len(orders)


def assert_parts(actual: dict[str, Array], expected: dict[str, np.ndarray]) -> None:
    assert set(actual) == set(expected) == set(PARTS)
    for name in PARTS:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [COUNT, SIZE, 60_000])
def test_parts_are_those_of_the_stratified_estimate_over_all_orders(size: int) -> None:
    densities = plain_densities()
    joint = densities.prod(axis=2)
    log_aggregate = [np.log(stratified(joint[i], i, size)) for i in range(COUNT)]
    log_marginals = [
        sum(np.log(stratified(densities[i, :, k], i, size)) for k in range(LATENT))
        for i in range(COUNT)
    ]
    parts = kl_parts(POSTERIOR, NOISE, log_shares(jnp.ones(COUNT), size))
    assert_parts(parts, plain_parts(np.array(log_aggregate), np.array(log_marginals)))


def test_a_batch_of_all_images_gives_the_aggregate_posterior_itself() -> None:
    log_densities = np.log(plain_densities())
    joint = logsumexp(log_densities.sum(axis=2), axis=1) - np.log(COUNT)
    marginals = (logsumexp(log_densities, axis=1) - np.log(COUNT)).sum(axis=1)
    parts = kl_parts(POSTERIOR, NOISE, log_shares(jnp.ones(COUNT), COUNT))
    assert_parts(parts, plain_parts(joint, marginals))


def test_the_estimate_of_the_aggregate_posterior_is_unbiased() -> None:
    densities = plain_densities().prod(axis=2)[0]  # of the first code, under all four
    estimates = []
    for others in itertools.combinations(range(1, COUNT), 2):
        shares = np.exp(log_shares(jnp.ones(3), COUNT))[0]
        estimates.append(shares @ densities[[0, *others]])
    np.testing.assert_allclose(np.mean(estimates), densities.mean(), rtol=1e-5)


def test_parts_add_up_to_the_sampled_kl() -> None:
    parts = kl_parts(POSTERIOR, NOISE, log_shares(jnp.ones(COUNT), SIZE))
    kl = sampled_kl(POSTERIOR, NOISE)
    np.testing.assert_allclose(sum(parts.values()), kl, rtol=1e-4, atol=1e-5)
    expected = plain_parts(np.zeros(COUNT), np.zeros(COUNT))  # log q(z | x) - log p(z)
    np.testing.assert_allclose(kl, sum(expected.values()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_padding_is_left_out_exactly() -> None:
    three = Gaussian(MEAN[:3], LOG_VARIANCE[:3])
    expected = kl_parts(three, NOISE[:3], log_shares(jnp.ones(3), SIZE))
    order = jnp.array([0, 3, 1, 2])  # padding may be anywhere
    posterior, weights = Gaussian(MEAN[order], LOG_VARIANCE[order]), jnp.array([1.0, 0, 1, 1])
    padded = kl_parts(posterior, NOISE[order], log_shares(weights, SIZE))
    for name in PARTS:
        np.testing.assert_allclose(padded[name][jnp.array([0, 2, 3])], expected[name], rtol=1e-5)


def test_an_example_alone_and_equal_posteriors_share_no_information() -> None:
    alone = kl_parts(POSTERIOR, NOISE, log_shares(jnp.array([1.0, 0, 0, 0]), SIZE))
    np.testing.assert_allclose(alone["mutual_information"][0], 0, atol=1e-5)
    np.testing.assert_allclose(alone["total_correlation"][0], 0, atol=1e-5)
    prior = Gaussian(jnp.zeros_like(MEAN), jnp.zeros_like(MEAN))
    for part in kl_parts(prior, NOISE, log_shares(jnp.ones(COUNT), SIZE)).values():
        np.testing.assert_allclose(part, 0, atol=1e-5)


@pytest.mark.parametrize("log_variance", [-1e3, -100.0, 80.0])
def test_extreme_posteriors_are_finite_with_finite_gradients(log_variance: float) -> None:
    log_variances = LOG_VARIANCE.at[0].set(log_variance)
    means = MEAN.at[1].set(1e3).at[2].set(MEAN[0])

    def total(posterior: Gaussian) -> Array:
        parts = kl_parts(posterior, NOISE, log_shares(jnp.ones(COUNT), SIZE))
        return sum((part.sum() for part in parts.values()), jnp.zeros(()))

    values = jax.jit(jax.value_and_grad(total))(Gaussian(means, log_variances))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values))
    assert np.isfinite(log_densities(Gaussian(means, log_variances), NOISE)).all()


# The objective.

BATCH = replace(batch_of(linear_gaussian.images(4)), weights=jnp.array([1.0, 1, 1, 0]))
VARIABLES = linear_gaussian.mismatched_variables()


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_beta_weighs_only_the_total_correlation(beta: float) -> None:
    objective = partial(beta_tc, network=NETWORK, size=SIZE, beta=beta)
    terms = objective(VARIABLES, KEY, BATCH)
    reconstruction, *parts, kl = terms.metrics.values()
    assert tuple(terms.metrics) == ("reconstruction", *PARTS, "kl")
    np.testing.assert_allclose(sum(parts), kl, rtol=1e-4, atol=1e-5)
    expected = reconstruction + kl + (beta - 1) * parts[1]
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        jax.jit(objective)(VARIABLES, KEY, BATCH),
        terms,
    )


def test_with_the_exact_posterior_beta_of_one_is_the_evidence() -> None:
    terms = beta_tc(
        linear_gaussian.exact_variables(), KEY, BATCH, network=NETWORK, size=SIZE, beta=1.0
    )
    np.testing.assert_allclose(-terms.loss, linear_gaussian.log_evidence(BATCH.images), rtol=1e-5)


@pytest.mark.slow
def test_padding_changes_no_term_and_no_gradient() -> None:
    padding = replace(BATCH, images=BATCH.images.at[3].add(0.5))

    def loss(variables: Any, batch: Any) -> tuple[Array, Array]:
        terms = beta_tc(variables, KEY, batch, network=NETWORK, size=SIZE)
        return (terms.loss * batch.weights).sum(), terms.loss[:3]

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    results = [gradient(VARIABLES, batch) for batch in (BATCH, padding)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *results)
    real = replace(BATCH, weights=jnp.ones(4))  # with weight 1, the fourth image counts
    assert np.any(gradient(VARIABLES, real)[1] != results[0][1])


def test_a_size_of_0_is_refused() -> None:
    with pytest.raises(UserError, match="size = 0"):
        beta_tc(VARIABLES, KEY, BATCH, network=NETWORK, size=0)
