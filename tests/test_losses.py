"""Losses against float64, quadrature and sampling; at their extremes; per example."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxae import losses

LOGITS = np.concatenate([np.linspace(-30, 30, 121), [-1e-3, 1e-3]])  # 0 among them
TARGETS = np.array([0, 0.1, 0.5, 0.75, 1])


def on_grid(logits: np.ndarray, targets: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Every pair of a logit and a target as an example of one pixel, float32."""
    pairs = np.stack(np.meshgrid(logits, targets, indexing="ij"), axis=-1).reshape(-1, 2)
    return jnp.asarray(pairs[:, :1], jnp.float32), jnp.asarray(pairs[:, 1:], jnp.float32)


def gradient(loss: Callable, *arguments: jax.Array) -> jax.Array:
    """The gradient of each example's loss by its first argument."""
    return jax.jit(jax.grad(lambda *arrays: loss(*arrays).sum()))(*arguments)


# Bernoulli.

bernoulli = jax.jit(losses.bernoulli)


def test_bernoulli_equals_float64() -> None:
    logits, targets = on_grid(LOGITS, TARGETS)
    wide, target = (np.asarray(array, np.float64)[:, 0] for array in (logits, targets))
    expected = -target * special.log_expit(wide) - (1 - target) * special.log_expit(-wide)
    # Relative, so that the loss of a confident and right prediction is right as well: 2.06e-9 of
    # logit 20 and target 1.
    np.testing.assert_allclose(bernoulli(logits, targets), expected, rtol=1e-5)


def test_bernoulli_gradient_is_the_probability_less_the_target() -> None:
    logits, targets = on_grid(LOGITS, TARGETS)
    wide, target = (np.asarray(array, np.float64) for array in (logits, targets))
    expected = (1 - target) * special.expit(wide) - target * special.expit(-wide)
    np.testing.assert_allclose(gradient(bernoulli, logits, targets), expected, rtol=1e-5, atol=1e-7)


def test_bernoulli_gradient_of_a_zero_logit() -> None:
    # A network with zero biases gives exactly this for a black image, and there max and abs kink.
    targets = jnp.asarray(TARGETS, jnp.float32)[:, None]
    np.testing.assert_allclose(
        gradient(bernoulli, jnp.zeros_like(targets), targets), 0.5 - targets, atol=1e-7
    )


def test_bernoulli_gradient_of_a_confident_and_right_prediction() -> None:
    logits, targets = jnp.array([[20.0], [-20.0]]), jnp.array([[1.0], [0.0]])
    expected = np.array([[-1], [1]]) * special.expit(-20)
    np.testing.assert_allclose(gradient(bernoulli, logits, targets), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_bernoulli_at_extreme_logits(size: float) -> None:
    logits, targets = on_grid(np.array([-size, size]), TARGETS)
    sure = (logits > 0).astype(jnp.float32)
    expected = jnp.abs(logits) * jnp.abs(sure - targets)
    np.testing.assert_allclose(bernoulli(logits, targets), expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(gradient(bernoulli, logits, targets), sure - targets)


def test_bernoulli_is_a_distribution_over_binary_images() -> None:
    logits = jnp.asarray(np.random.default_rng(0).normal(size=4) * 3, jnp.float32)
    images = jnp.asarray(np.indices((2,) * 4).reshape(4, -1).T, jnp.float32)  # all sixteen
    loss = bernoulli(jnp.broadcast_to(logits, images.shape), images)
    np.testing.assert_allclose(np.exp(-loss).sum(), 1, rtol=1e-6)


# The squared error.


def test_squared_error_is_the_squared_norm_of_the_difference() -> None:
    predictions, targets = np.random.default_rng(0).normal(size=(2, 5, 4, 3, 2))
    expected = np.linalg.norm((predictions - targets).reshape(5, -1), axis=1) ** 2
    actual = losses.squared_error(jnp.asarray(predictions), jnp.asarray(targets))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_squared_error_is_a_gaussian_of_variance_one_half() -> None:
    predictions, targets = np.random.default_rng(0).normal(size=(2, 5, 12))
    expected = -stats.norm.logpdf(targets, predictions, 0.5**0.5).sum(axis=1)
    actual = losses.squared_error(jnp.asarray(predictions), jnp.asarray(targets))
    np.testing.assert_allclose(actual + 12 / 2 * np.log(np.pi), expected, rtol=1e-5)


# The KL divergence.


def kl(mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """The divergence of each example, whose only axis is the code's."""
    arrays = (jnp.asarray(array, jnp.float32) for array in (mean, log_variance))
    return np.asarray(jax.jit(losses.kl_to_standard_normal)(*arrays))


def kl_gradients(mean: np.ndarray, log_variance: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The gradients of the sum over the examples, by the mean and by the log variance."""
    arrays = (jnp.asarray(array, jnp.float32) for array in (mean, log_variance))
    return jax.jit(jax.grad(lambda *z: losses.kl_to_standard_normal(*z).sum(), (0, 1)))(*arrays)


def test_kl_equals_quadrature() -> None:
    means, log_variances = np.meshgrid([-6, -0.5, 0, 1e-3, 2], [-12, -1, -1e-3, 0, 0.3, 4, 20])
    means, log_variances = means.ravel(), log_variances.ravel()
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    scales = np.exp(log_variances / 2)[:, None]
    codes = means[:, None] + scales * nodes
    log_ratio = stats.norm.logpdf(nodes) - np.log(scales) - stats.norm.logpdf(codes)
    expected = log_ratio @ weights / weights.sum()  # exact: the log ratio is a quadratic
    actual = kl(means[:, None], log_variances[:, None])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-9)


def test_kl_equals_monte_carlo() -> None:
    random = np.random.default_rng(0)
    means, log_variances = random.normal(size=(2, 3, 5))
    scales = np.exp(log_variances / 2)
    codes = means + scales * random.normal(size=(100_000, 3, 5))
    samples = stats.norm.logpdf(codes, means, scales) - stats.norm.logpdf(codes)
    samples = samples.sum(axis=-1)
    error = samples.std(axis=0) / len(samples) ** 0.5
    assert (np.abs(kl(means, log_variances) - samples.mean(axis=0)) < 5 * error).all()


def test_kl_and_its_gradient_vanish_at_the_prior_alone() -> None:
    zeros = np.zeros((1, 7))
    np.testing.assert_array_equal(kl(zeros, zeros), 0)
    np.testing.assert_array_equal(kl_gradients(zeros, zeros), np.zeros((2, 1, 7)))
    away = np.array([[1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]])
    assert (kl(away[:, :1], away[:, 1:]) > 0).all()


def test_kl_at_extremes() -> None:
    means, log_variances = np.array([[1e15], [0], [0], [0]]), np.array([[0], [-1e3], [-1e30], [80]])
    expected = [0.5e30, 499.5, 0.5e30, 0.5 * np.exp(80)]
    np.testing.assert_allclose(kl(means, log_variances), expected, rtol=1e-4)
    by_mean, by_log_variance = kl_gradients(means, log_variances)
    np.testing.assert_allclose(by_mean, means)
    np.testing.assert_allclose(by_log_variance, np.expm1(log_variances) / 2, rtol=1e-4)


# What all of them share.

LOSSES = [losses.bernoulli, losses.squared_error, losses.kl_to_standard_normal]


@pytest.mark.parametrize("loss", LOSSES)
def test_each_example_has_its_own_sum(loss: Callable) -> None:
    first, second = np.random.default_rng(0).uniform(size=(2, 3, 4, 2, 1)).astype(np.float32)
    together = loss(jnp.asarray(first), jnp.asarray(second))
    assert together.shape == (3,)
    pixel_by_pixel = loss(jnp.asarray(first.reshape(-1, 1)), jnp.asarray(second.reshape(-1, 1)))
    np.testing.assert_allclose(together, pixel_by_pixel.reshape(3, -1).sum(axis=1), rtol=1e-5)
