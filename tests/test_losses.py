"""Losses against float64, quadrature and sampling; at their extremes; per example."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxae import losses
from jaxae.errors import UserError

LOGITS = np.concatenate([np.linspace(-30, 30, 121), [-1e-3, 1e-3]])  # 0 among them
TARGETS = np.array([0, 0.1, 0.5, 0.75, 1])


def on_grid(logits: np.ndarray, targets: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Returns each pair of a logit and a target as an example of one pixel, float32."""
    pairs = np.stack(np.meshgrid(logits, targets, indexing="ij"), axis=-1).reshape(-1, 2)
    return jnp.asarray(pairs[:, :1], jnp.float32), jnp.asarray(pairs[:, 1:], jnp.float32)


def gradient(loss: Callable, *arguments: jax.Array) -> jax.Array:
    """Returns the gradient of each example's loss with respect to the first argument."""
    return jax.jit(jax.grad(lambda *arrays: loss(*arrays).sum()))(*arguments)


# Bernoulli.

bernoulli = jax.jit(losses.bernoulli)


def test_bernoulli_equals_float64() -> None:
    logits, targets = on_grid(LOGITS, TARGETS)
    wide, target = (np.asarray(array, np.float64)[:, 0] for array in (logits, targets))
    expected = -target * special.log_expit(wide) - (1 - target) * special.log_expit(-wide)
    # The tolerance is relative, so the small loss of a confident, correct prediction is tested too:
    # 2.06e-9 at logit 20 and target 1.
    np.testing.assert_allclose(bernoulli(logits, targets), expected, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 5e-7), (jnp.bfloat16, 1e-2)])
def test_bernoulli_is_accurate_between_all_logits(dtype: type, tolerance: float) -> None:
    logits = jnp.linspace(-20, 20, 40_001).astype(dtype)[:, None]
    expected = special.log1p(np.exp(-np.abs(np.asarray(logits, np.float64))))
    targets = (logits > 0).astype(dtype)  # leaves the remainder of the loss alone
    np.testing.assert_allclose(
        np.asarray(bernoulli(logits, targets), np.float64), expected[:, 0], rtol=tolerance
    )


def test_bernoulli_gradient_is_the_probability_minus_the_target() -> None:
    logits, targets = on_grid(LOGITS, TARGETS)
    wide, target = (np.asarray(array, np.float64) for array in (logits, targets))
    expected = (1 - target) * special.expit(wide) - target * special.expit(-wide)
    np.testing.assert_allclose(gradient(bernoulli, logits, targets), expected, rtol=1e-5, atol=1e-7)


def test_bernoulli_gradient_of_a_zero_logit() -> None:
    # A network with zero biases gives exactly this for a black image; max and abs have kinks there.
    targets = jnp.asarray(TARGETS, jnp.float32)[:, None]
    np.testing.assert_allclose(
        gradient(bernoulli, jnp.zeros_like(targets), targets), 0.5 - targets, atol=1e-7
    )


def test_bernoulli_gradient_of_a_confident_correct_prediction() -> None:
    logits, targets = jnp.array([[20.0], [-20.0]]), jnp.array([[1.0], [0.0]])
    expected = np.array([[-1], [1]]) * special.expit(-20)
    np.testing.assert_allclose(gradient(bernoulli, logits, targets), expected, rtol=1e-5)


@pytest.mark.parametrize("logit", [0.0, 3.0, -3.0, 20.0, 1e3, -1e3])
def test_bernoulli_curvature_is_the_variance_of_a_pixel(logit: float) -> None:
    curvature = jax.grad(jax.grad(lambda x: bernoulli(x[None, None], jnp.full((1, 1), 0.3)).sum()))
    variance = special.expit(logit) * special.expit(-logit)
    np.testing.assert_allclose(curvature(jnp.float32(logit)), variance, rtol=1e-5, atol=1e-30)


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


# The continuous Bernoulli.

continuous_bernoulli = jax.jit(losses.continuous_bernoulli)


def test_continuous_bernoulli_and_its_gradient_equal_float64() -> None:
    # The normalizer changes its formula at 0.5.
    logits, targets = on_grid(np.concatenate([LOGITS, np.linspace(-0.6, 0.6, 120)]), TARGETS)
    wide, target = (np.asarray(array, np.float64) for array in (logits, targets))
    zero, safe = wide == 0, np.where(wide == 0, 1, wide)
    normalizer = np.where(zero, np.log(2), np.log(safe / np.tanh(safe / 2)))
    loss = -target * special.log_expit(wide) - (1 - target) * special.log_expit(-wide) - normalizer
    actual = continuous_bernoulli(logits, targets)
    np.testing.assert_allclose(actual, loss[:, 0], rtol=1e-6, atol=3e-7)
    slope = special.expit(wide) - target - np.where(zero, 0, 1 / safe - 1 / np.sinh(safe))
    np.testing.assert_allclose(gradient(continuous_bernoulli, logits, targets), slope, atol=2e-6)


def test_continuous_bernoulli_log_normalizer_near_one_half() -> None:
    normalizer = jax.vmap(losses.continuous_bernoulli_log_normalizer)
    logits = jnp.linspace(-0.04, 0.04, 9)
    offset = special.expit(np.asarray(logits, np.float64)) - 0.5
    # Loaiza-Ganem and Cunningham's series in the probability.
    series = np.log(2) + 4 / 3 * offset**2 + 104 / 45 * offset**4
    np.testing.assert_allclose(jax.jit(normalizer)(logits), series, rtol=2e-7)
    curvature = jax.jit(jax.grad(jax.grad(losses.continuous_bernoulli_log_normalizer)))
    np.testing.assert_allclose(curvature(0.0), 1 / 6, rtol=1e-6)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_continuous_bernoulli_at_extreme_logits(size: float) -> None:
    logits, targets = on_grid(np.array([-size, size]), TARGETS)
    sure = (logits > 0).astype(jnp.float32)
    expected = jnp.abs(logits) * jnp.abs(sure - targets) - np.log(size)
    np.testing.assert_allclose(continuous_bernoulli(logits, targets), expected[:, 0], rtol=1e-6)
    slopes = sure - targets - 1 / logits
    np.testing.assert_allclose(gradient(continuous_bernoulli, logits, targets), slopes, rtol=1e-6)


# The Gaussian.


def test_gaussian_equals_float64() -> None:
    arrays = np.random.default_rng(0).normal(size=(3, 5, 4, 3)) * 2
    mean, log_variance, targets = arrays
    expected = -stats.norm.logpdf(targets, mean, np.exp(log_variance / 2)).reshape(5, -1)
    loss = jax.jit(losses.gaussian)(*jnp.asarray(arrays, jnp.float32))
    np.testing.assert_allclose(loss, expected.sum(axis=1), rtol=1e-5)


@pytest.mark.slow
def test_gaussian_at_extreme_variances() -> None:
    mean, log_variance = jnp.array([[0.25], [0.25], [0.5]]), jnp.array([[-80.0], [80], [-80]])
    targets = jnp.full((3, 1), 0.5)
    distances = np.array([0.0625 * np.exp(80), 0.0625 * np.exp(-80), 0])
    expected = 0.5 * (np.log(2 * np.pi) + log_variance[:, 0] + distances)
    np.testing.assert_allclose(losses.gaussian(mean, log_variance, targets), expected, rtol=1e-4)
    by_mean, by_log_variance = jax.jit(
        jax.grad(lambda *x: losses.gaussian(x[0], x[1], targets).sum(), (0, 1))
    )(mean, log_variance)
    slopes = [-0.25 * np.exp(80), -0.25 * np.exp(-80), 0]
    np.testing.assert_allclose(by_mean[:, 0], slopes, rtol=1e-4)
    np.testing.assert_allclose(by_log_variance[:, 0], 0.5 - distances / 2, rtol=1e-4)


# The discretized logistic.

discretized_logistic = jax.jit(losses.discretized_logistic)
LEVELS = jnp.arange(256)[:, None] / 255


def of_all_levels(location: float, log_scale: float) -> np.ndarray:
    """Returns the loss of each of 256 levels, float64."""
    loss = discretized_logistic(
        jnp.full_like(LEVELS, location), jnp.full_like(LEVELS, log_scale), LEVELS
    )
    return np.asarray(loss, np.float64)


@pytest.mark.parametrize("log_scale", [-80.0, -8, -5, -2, 0, 8])
@pytest.mark.parametrize("location", [0.0, 0.3, 1.0])
def test_discretized_logistic_masses_add_up_to_one(location: float, log_scale: float) -> None:
    assert np.exp(-of_all_levels(location, log_scale)).sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("log_scale", [-4.0, -2, 0])
def test_discretized_logistic_equals_float64(log_scale: float) -> None:
    edges = (np.arange(255) + 0.5) / 255
    below = np.concatenate([[0], special.expit((edges - 0.3) / np.exp(log_scale)), [1]])
    # The same from the other side, because one minus a small number loses digits.
    above = np.concatenate([[1], special.expit((0.3 - edges) / np.exp(log_scale)), [0]])
    mass = np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))
    np.testing.assert_allclose(of_all_levels(0.3, log_scale), -np.log(mass), rtol=1e-5)


def test_discretized_logistic_has_exponential_tails() -> None:
    # Far off, the sigmoid is the exponential function: a level costs its distance in scales.
    loss = of_all_levels(1.0, -8.0)[:200]
    upper = (255 - np.arange(200) - 0.5) / 255 * np.exp(8)
    inside = upper - np.log(-np.expm1(-np.exp(8) / 255))
    np.testing.assert_allclose(loss, np.concatenate([upper[:1], inside[1:]]), rtol=1e-5)


@pytest.mark.parametrize("log_scale", [-80.0, -8, 8, 80])
def test_discretized_logistic_and_its_gradient_at_extreme_scales(log_scale: float) -> None:
    targets = jnp.array([[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]])
    location = jnp.array([[0.0, 1.0, 0.5, 1.0, 1.0, 0.0]])
    loss, slopes = jax.jit(
        jax.value_and_grad(lambda *x: discretized_logistic(x[0], x[1], targets).sum(), (0, 1))
    )(location, jnp.full_like(location, log_scale))
    assert np.isfinite(loss)
    assert np.isfinite(slopes).all()


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
    """Returns the divergence of each example, from arrays [batch, latent]."""
    arrays = (jnp.asarray(array, jnp.float32) for array in (mean, log_variance))
    return np.asarray(jax.jit(losses.kl_to_standard_normal)(*arrays))


def kl_gradients(mean: np.ndarray, log_variance: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of the sum over examples for the mean and for the log variance."""
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


def test_kl_and_its_gradient_vanish_only_at_the_prior() -> None:
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


# What all losses share.

LOSSES = [
    (losses.bernoulli, 2),
    (losses.continuous_bernoulli, 2),
    (losses.gaussian, 3),
    (losses.discretized_logistic, 3),
    (losses.squared_error, 2),
    (losses.kl_to_standard_normal, 2),
]
every_loss = pytest.mark.parametrize(("loss", "count"), LOSSES)  # and its number of arguments


@every_loss
def test_each_example_has_its_own_sum(loss: Callable, count: int) -> None:
    arrays = np.random.default_rng(0).uniform(size=(count, 3, 4, 2, 1)).astype(np.float32)
    together = jax.jit(loss)(*map(jnp.asarray, arrays))
    assert together.shape == (3,)
    pixel_by_pixel = jax.jit(loss)(*map(jnp.asarray, arrays.reshape(count, -1, 1)))
    np.testing.assert_allclose(together, pixel_by_pixel.reshape(3, -1).sum(axis=1), rtol=1e-5)


@every_loss
@pytest.mark.usefixtures("unchecked_shapes")
def test_no_argument_is_broadcast(loss: Callable, count: int) -> None:
    for other in range(count):
        arrays = [jnp.ones((2, 4, 1) if i == other else (2, 4, 3)) for i in range(count)]
        with pytest.raises(UserError, match=r"\(2, 4, 1\)"):
            loss(*arrays)


@every_loss
@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bool_])
def test_integers_and_booleans_are_refused(loss: Callable, count: int, dtype: Any) -> None:
    for other in range(count):
        arrays = [jnp.ones((2, 3), dtype if i == other else jnp.float32) for i in range(count)]
        with pytest.raises(UserError, match=f"{jnp.dtype(dtype)}.*give floats"):
            loss(*arrays)
