"""Likelihoods: one table of all of them, and the properties each of them has."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxae import likelihoods
from jaxae.likelihoods import Likelihood


class Case(NamedTuple):
    """A likelihood and, in NumPy, what it should be."""

    likelihood: Likelihood
    scaled: tuple[float, float]  # what the network reads for black and for white
    image: Callable[[np.ndarray], np.ndarray]  # from logits to pixels in [0, 1]
    logits: Callable[[np.ndarray], np.ndarray]  # its inverse
    best: Callable[[np.ndarray], np.ndarray]  # from a pixel to the least loss it can have


def entropy(pixels: np.ndarray) -> np.ndarray:
    """Of Bernoulli(pixel), in nats: the cross-entropy has no lower value."""
    return special.entr(pixels) + special.entr(1 - pixels)


CASES = {
    "BERNOULLI": Case(likelihoods.BERNOULLI, (0, 1), special.expit, special.logit, entropy),
    "GAUSSIAN_SIGMOID": Case(
        likelihoods.GAUSSIAN_SIGMOID, (0, 1), special.expit, special.logit, np.zeros_like
    ),
    "GAUSSIAN_TANH": Case(
        likelihoods.GAUSSIAN_TANH,
        (-1, 1),
        lambda logits: (np.tanh(logits) + 1) / 2,
        lambda pixels: np.arctanh(2 * pixels - 1),
        np.zeros_like,
    ),
    "GAUSSIAN_RELU": Case(
        likelihoods.GAUSSIAN_RELU,
        (0, 1),
        lambda logits: np.clip(logits, 0, 1),
        lambda pixels: pixels,
        np.zeros_like,
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
PIXELS = np.linspace(0.02, 0.98, 24, dtype=np.float32).reshape(2, 3, 4, 1)


def test_the_table_has_every_likelihood() -> None:
    made = {name for name, value in vars(likelihoods).items() if isinstance(value, Likelihood)}
    assert made == set(CASES)


@every_case
def test_scale(case: Case) -> None:
    black, white = case.scaled
    scaled = case.likelihood.scale(jnp.asarray(PIXELS))
    np.testing.assert_allclose(scaled, black + (white - black) * PIXELS, atol=1e-6)


@every_case
def test_image_is_in_range_and_as_the_activation_says(case: Case) -> None:
    logits = np.array([-1e30, -1e3, -20, -1, -0.1, 0, 0.1, 0.9, 1, 20, 1e3, 1e30], np.float32)
    images = np.asarray(case.likelihood.image(jnp.asarray(logits)))
    np.testing.assert_allclose(images, case.image(logits), atol=1e-6)
    assert images.min() == 0
    assert images.max() == 1
    assert (np.diff(images) >= 0).all()


@every_case
def test_a_perfect_match_has_its_image_and_the_least_loss(case: Case) -> None:
    likelihood = case.likelihood
    logits = jnp.asarray(case.logits(PIXELS))
    targets = likelihood.scale(jnp.asarray(PIXELS))
    np.testing.assert_allclose(likelihood.image(logits), PIXELS, atol=1e-6)
    least = case.best(PIXELS).reshape(2, -1).sum(axis=1)
    loss = jax.jit(likelihood.loss)
    np.testing.assert_allclose(loss(logits, targets), least, rtol=1e-5, atol=1e-9)
    for shift in (-0.1, 0.1):
        assert (loss(logits + shift, targets) > least).all()


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("GAUSSIAN")])
def test_gaussian_loss_is_the_squared_error_on_the_scale_the_network_reads(name: str) -> None:
    case = CASES[name]
    likelihood = case.likelihood
    other = PIXELS[::-1]  # in [0, 1], so that no ReLU image is cut
    loss = likelihood.loss(jnp.asarray(case.logits(other)), likelihood.scale(jnp.asarray(PIXELS)))
    width = case.scaled[1] - case.scaled[0]
    expected = width**2 * np.square(other - PIXELS).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_gaussian_relu_is_not_cut_above_one_where_it_learns() -> None:
    likelihood = likelihoods.GAUSSIAN_RELU
    loss = likelihood.loss(jnp.array([[3.0], [-3.0]]), jnp.ones((2, 1)))
    np.testing.assert_allclose(loss, [4, 1])


@every_case
def test_loss_and_gradient_are_finite_at_extreme_logits(case: Case) -> None:
    likelihood = case.likelihood
    targets = likelihood.scale(jnp.array([[0.0, 0.5, 1.0]]))
    loss_and_slope = jax.jit(jax.value_and_grad(lambda x: likelihood.loss(x, targets).sum()))
    for size in (-1e3, 1e3):
        loss, slope = loss_and_slope(jnp.full((1, 3), size))
        assert np.isfinite(loss)
        assert np.isfinite(slope).all()


@every_case
def test_loss_of_an_example_does_not_depend_on_its_batch(case: Case) -> None:
    likelihood = case.likelihood
    logits = jnp.asarray(np.random.default_rng(0).normal(size=PIXELS.shape), jnp.float32)
    targets = likelihood.scale(jnp.asarray(PIXELS))
    together = likelihood.loss(logits, targets)
    alone = [likelihood.loss(logits[i : i + 1], targets[i : i + 1])[0] for i in range(2)]
    assert together.shape == (2,)
    np.testing.assert_allclose(together, alone, rtol=1e-6)
