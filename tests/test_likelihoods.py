"""Likelihoods: a table of them, the properties that all share, then tests of single ones."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxae import likelihoods, losses
from jaxae.errors import UserError
from jaxae.likelihoods import BY_NAME, Likelihood

Function = Callable[[np.ndarray], np.ndarray]
Nodes = tuple[np.ndarray, np.ndarray]  # pixels, and the weight of each in a sum or an integral


class Case(NamedTuple):
    """The expected values of a likelihood, in NumPy; spreads, if it has any, are logits of 0."""

    scaled: tuple[float, float]  # the network's inputs for black and for white
    image: Function  # from logits to pixels in [0, 1]
    logits: Function  # its inverse
    best: Function  # from a pixel to its lowest possible loss
    nodes: Nodes | None  # at which its probabilities are summed to one; None: not normalized


def entropy(pixels: np.ndarray) -> np.ndarray:
    """Returns the entropy of Bernoulli(pixel) in nats, the lowest cross-entropy."""
    return special.entr(pixels) + special.entr(1 - pixels)


def exponential_mean(logits: np.ndarray) -> np.ndarray:
    """Returns the mean of a density proportional to exp(logit x) over [0, 1]."""
    size = np.maximum(np.abs(logits).astype(np.float64), 1e-6)
    mean = -1 / np.expm1(-size) - 1 / size
    return np.where(logits < 0, 1 - mean, mean)


def exponential_logits(pixels: np.ndarray) -> np.ndarray:
    """Returns the logit of the density that has the pixel as its mean."""
    grid = np.linspace(-60, 60, 200_001)
    return np.interp(pixels, exponential_mean(grid), grid)


def exponential_best(pixels: np.ndarray) -> np.ndarray:
    """Returns -log of the density that has the pixel as its mean, at that pixel."""
    logits = exponential_logits(pixels)
    return np.log(np.expm1(logits) / logits) - logits * pixels


def highest_density(standard_deviation: float) -> Function:
    """Returns a function to -log of a Gaussian's density at its mean."""
    return lambda pixels: np.full_like(pixels, -stats.norm.logpdf(0, scale=standard_deviation))


def middle_mass(pixels: np.ndarray) -> np.ndarray:
    """Returns -log of the mass of a logistic of scale 1 within half a level of its location."""
    return np.full_like(pixels, -np.log(np.tanh(1 / (4 * 255))))


def even(low: float, high: float, count: int) -> Nodes:
    """Returns the trapezoidal rule for functions that vanish at both ends."""
    nodes, step = np.linspace(low, high, count, retstep=True)
    return nodes, np.full(count, step)


def legendre(count: int) -> Nodes:
    """Returns the Gauss-Legendre rule over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


IDENTITY = {"scaled": (0, 1), "image": lambda logits: logits, "logits": lambda pixels: pixels}
SIGMOID = {"scaled": (0, 1), "image": special.expit, "logits": special.logit}
CASES = {
    "bernoulli": Case(**SIGMOID, best=entropy, nodes=(np.array([0, 1]), np.ones(2))),
    "continuous_bernoulli": Case(
        (0, 1), exponential_mean, exponential_logits, exponential_best, legendre(64)
    ),
    "gaussian": Case(**SIGMOID, best=highest_density(0.1), nodes=even(-2, 3, 2001)),
    "gaussian_learned": Case(**SIGMOID, best=highest_density(1), nodes=even(-40, 41, 20001)),
    "discretized_logistic": Case(
        **SIGMOID, best=middle_mass, nodes=(np.arange(256) / 255, np.ones(256))
    ),
    "gaussian_sigmoid": Case(**SIGMOID, best=np.zeros_like, nodes=None),
    "gaussian_tanh": Case(
        (-1, 1),
        lambda logits: (np.tanh(logits) + 1) / 2,
        lambda pixels: np.arctanh(2 * pixels - 1),
        np.zeros_like,
        None,
    ),
    "gaussian_relu": Case(
        (0, 1), lambda logits: np.clip(logits, 0, 1), lambda pixels: pixels, np.zeros_like, None
    ),
    "gaussian_identity": Case(**IDENTITY, best=highest_density(1), nodes=even(-40, 41, 20001)),
    "gaussian_identity_learned": Case(
        **IDENTITY, best=highest_density(1), nodes=even(-40, 41, 20001)
    ),
}
every_likelihood = pytest.mark.parametrize("name", BY_NAME)
PIXELS = (np.round(np.linspace(5, 250, 24)) / 255).astype(np.float32).reshape(2, 3, 4, 1)


def with_spreads(name: str, means: np.ndarray, spread: float = 0) -> jax.Array:
    """Appends spreads to means [B, ..., C]: logits [B, ..., k C], float32."""
    extra = BY_NAME[name].logits_per_channel - 1
    return jnp.asarray(np.concatenate([means, *[np.full_like(means, spread)] * extra], -1), "f4")


def test_the_table_has_every_likelihood() -> None:
    made = [value for value in vars(likelihoods).values() if isinstance(value, Likelihood)]
    assert made
    assert all(any(known is value for known in BY_NAME.values()) for value in made)
    assert set(CASES) == set(BY_NAME)


@every_likelihood
def test_scale(name: str) -> None:
    black, white = CASES[name].scaled
    scaled = BY_NAME[name].scale(jnp.asarray(PIXELS))
    np.testing.assert_allclose(scaled, black + (white - black) * PIXELS, atol=1e-6)


@every_likelihood
def test_image_is_in_range_and_follows_the_activation(name: str) -> None:
    means = np.array([-1e30, -1e3, -20, -1, -0.1, 0, 0.1, 0.9, 1, 20, 1e3, 1e30], np.float32)
    image = jax.jit(BY_NAME[name].image)
    images = np.asarray(image(with_spreads(name, means[:, None], 1e3)))[:, 0]
    np.testing.assert_allclose(images, CASES[name].image(means), atol=1e-6)
    if BY_NAME[name].bounded:
        assert 0 <= images.min() < 1e-6
        assert 1 - 1e-6 < images.max() <= 1
    assert (np.diff(images) >= 0).all()


@pytest.mark.slow
@every_likelihood
def test_a_perfect_match_has_its_image_and_the_lowest_loss(name: str) -> None:
    likelihood, case = BY_NAME[name], CASES[name]
    means = case.logits(PIXELS)
    targets = likelihood.scale(jnp.asarray(PIXELS))
    np.testing.assert_allclose(likelihood.image(with_spreads(name, means)), PIXELS, atol=1e-6)
    least = case.best(PIXELS.astype(np.float64)).reshape(2, -1).sum(axis=1)
    loss = jax.jit(likelihood.loss)
    np.testing.assert_allclose(
        loss(with_spreads(name, means), targets), least, rtol=1e-5, atol=1e-9
    )
    for shift in (-0.1, 0.1):
        assert (loss(with_spreads(name, means + shift), targets) > least).all()


@every_likelihood
def test_normalized_likelihoods_sum_to_one(name: str) -> None:
    likelihood, nodes = BY_NAME[name], CASES[name].nodes
    assert likelihood.normalized == (nodes is not None)
    if nodes is None:
        return
    pixels, weights = nodes
    targets = likelihood.scale(jnp.asarray(pixels, jnp.float32)[:, None])
    loss = jax.jit(likelihood.loss)
    for mean in (-4, 0, 0.1, 3):
        for spread in (-4, 0, 3):
            logits = with_spreads(name, np.full(targets.shape, mean), spread)
            assert np.exp(-loss(logits, targets)) @ weights == pytest.approx(1, rel=1e-4)


@every_likelihood
def test_loss_and_gradient_are_finite_at_extreme_logits(name: str) -> None:
    likelihood = BY_NAME[name]
    targets = likelihood.scale(jnp.array([[0.0, 0.5, 1.0]]))
    loss_and_slope = jax.jit(jax.value_and_grad(lambda x: likelihood.loss(x, targets).sum()))
    for mean in (-1e3, 0, 1e3):
        for spread in (-1e3, 1e3):
            loss, slope = loss_and_slope(with_spreads(name, np.full((1, 3), mean), spread))
            assert np.isfinite(loss)
            assert np.isfinite(slope).all()


@every_likelihood
def test_loss_of_an_example_does_not_depend_on_its_batch(name: str) -> None:
    likelihood = BY_NAME[name]
    logits = with_spreads(name, np.random.default_rng(0).normal(size=PIXELS.shape))
    targets = likelihood.scale(jnp.asarray(PIXELS))
    loss = jax.jit(likelihood.loss)
    together = loss(logits, targets)
    alone = [loss(logits[i : i + 1], targets[i : i + 1])[0] for i in range(2)]
    assert together.shape == (2,)
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@every_likelihood
def test_logits_of_color_images(name: str) -> None:
    likelihood = BY_NAME[name]
    logits = jnp.zeros((2, 4, 4, 3 * likelihood.logits_per_channel))
    assert jax.eval_shape(likelihood.image, logits).shape == (2, 4, 4, 3)
    assert jax.eval_shape(likelihood.loss, logits, jnp.zeros((2, 4, 4, 3))).shape == (2,)


@every_likelihood
def test_logits_of_vectors(name: str) -> None:
    likelihood = BY_NAME[name]
    random = np.random.default_rng(0)
    logits = jnp.asarray(random.normal(size=(2, 5 * likelihood.logits_per_channel)), jnp.float32)
    vectors = jnp.asarray(random.uniform(size=(2, 5)), jnp.float32)
    assert likelihood.image(logits).shape == (2, 5)
    loss = jax.jit(likelihood.loss)
    # Those of an image with a single pixel of as many channels.
    expected = loss(logits[:, None, None], vectors[:, None, None])
    np.testing.assert_allclose(loss(logits, vectors), expected, rtol=1e-6)


@every_likelihood
@pytest.mark.usefixtures("unchecked_shapes")
def test_pixels_of_another_shape_are_refused(name: str) -> None:
    likelihood = BY_NAME[name]
    logits = jnp.zeros((2, 4, 4, 3 * likelihood.logits_per_channel))
    for other in ((2, 4, 4, 1), (2, 4, 3, 3), (1, 4, 4, 3), (2, 4, 4, 6)):
        with pytest.raises(UserError, match="shape"):
            likelihood.loss(logits, jnp.zeros(other))


@pytest.mark.parametrize(
    "name", ["gaussian_learned", "gaussian_identity_learned", "discretized_logistic"]
)
def test_a_likelihood_with_spreads_refuses_odd_channels(name: str) -> None:
    logits = jnp.zeros((2, 4, 4, 3))
    for refused in (BY_NAME[name].image, lambda x: BY_NAME[name].loss(x, logits)):
        with pytest.raises(UserError, match="twice the channels"):
            refused(logits)


@pytest.mark.parametrize("name", ["gaussian_sigmoid", "gaussian_tanh", "gaussian_relu"])
def test_unnormalized_gaussians_are_squared_errors_on_the_scale_the_network_reads(
    name: str,
) -> None:
    likelihood, case = BY_NAME[name], CASES[name]
    other = PIXELS[::-1]  # in [0, 1], so that no ReLU image is clipped
    loss = likelihood.loss(jnp.asarray(case.logits(other)), likelihood.scale(jnp.asarray(PIXELS)))
    width = case.scaled[1] - case.scaled[0]
    expected = width**2 * np.square(other - PIXELS).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_loss_of_gaussian_relu_does_not_clip_at_one() -> None:
    likelihood = likelihoods.GAUSSIAN_RELU
    loss = likelihood.loss(jnp.array([[3.0], [-3.0]]), jnp.ones((2, 1)))
    np.testing.assert_allclose(loss, [4, 1])


@pytest.mark.parametrize("standard_deviation", [0.02, 0.1, 1.0])
def test_a_gaussian_has_the_standard_deviation_it_was_made_with(standard_deviation: float) -> None:
    logits = np.random.default_rng(0).normal(size=PIXELS.shape).astype(np.float32)
    expected = -stats.norm.logpdf(PIXELS, special.expit(logits), standard_deviation)
    loss = likelihoods.gaussian(standard_deviation).loss(jnp.asarray(logits), jnp.asarray(PIXELS))
    np.testing.assert_allclose(loss, expected.reshape(2, -1).sum(axis=1), rtol=1e-5)


VECTORS = np.random.default_rng(3).normal(10, 100, (4, 7)).astype(np.float32)


@pytest.mark.parametrize("standard_deviation", [0.3, 1.0, 25.0])
def test_the_mean_of_an_unbounded_gaussian_is_the_logit(standard_deviation: float) -> None:
    likelihood = likelihoods.gaussian_identity(standard_deviation)
    means = VECTORS + np.random.default_rng(4).normal(size=VECTORS.shape).astype(np.float32)
    expected = -stats.norm.logpdf(VECTORS, means, standard_deviation).sum(axis=1)
    loss = likelihood.loss(jnp.asarray(means), jnp.asarray(VECTORS))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_array_equal(likelihood.image(jnp.asarray(means)), means)
    assert not likelihood.bounded


def test_the_variance_of_an_unbounded_gaussian_is_learned_within_bounds() -> None:
    likelihood = likelihoods.GAUSSIAN_IDENTITY_LEARNED
    spreads = np.linspace(-40, 40, VECTORS.size).reshape(VECTORS.shape).astype(np.float32)
    logits = jnp.asarray(np.concatenate([VECTORS[::-1], spreads], axis=1))
    scales = np.exp(12 * np.tanh(spreads / 12) / 2)
    expected = -stats.norm.logpdf(VECTORS, VECTORS[::-1], scales).sum(axis=1)
    np.testing.assert_allclose(likelihood.loss(logits, jnp.asarray(VECTORS)), expected, rtol=1e-4)
    np.testing.assert_array_equal(likelihood.image(logits), VECTORS[::-1])
    assert not likelihood.bounded


@pytest.mark.parametrize("make", likelihoods.WITH_DEVIATION.values())
@pytest.mark.parametrize("standard_deviation", [0.0, -1.0, float("nan"), float("inf")])
def test_a_gaussian_refuses_an_impossible_standard_deviation(
    make: Callable[[float], Likelihood], standard_deviation: float
) -> None:
    with pytest.raises(UserError, match=str(standard_deviation)):
        make(standard_deviation)


def test_a_likelihood_is_found_again_by_its_name() -> None:
    made = [make(value) for make in likelihoods.WITH_DEVIATION.values() for value in (0.3, jnp.pi)]
    for known in (*BY_NAME.values(), *made):
        name = likelihoods.name_of(known)
        assert name is not None
        assert likelihoods.named(name) == known
    assert likelihoods.name_of(likelihoods.gaussian(0.1)) == "gaussian"
    assert likelihoods.name_of(likelihoods.gaussian_identity(0.1)) == "gaussian_identity 0.1"
    assert likelihoods.name_of(likelihoods.gaussian_identity(1)) == "gaussian_identity"
    assert likelihoods.name_of(likelihoods.gaussian(np.float64(0.25))) == "gaussian 0.25"
    assert likelihoods.gaussian(0.3) == likelihoods.gaussian(np.float64(0.3))
    assert likelihoods.gaussian(0.3) != likelihoods.gaussian(0.2)
    assert likelihoods.name_of(replace(likelihoods.GAUSSIAN, loss=losses.squared_error)) is None
    for unknown in (
        "",
        "gaussian_0.1",
        "gaussian x",
        "gaussian -1",
        "gaussian_tanh 1",
        "bernoulli 2",
    ):
        with pytest.raises(KeyError):
            likelihoods.named(unknown)


@pytest.mark.slow
def test_means_come_before_spreads() -> None:
    means, spreads = np.array([[0.3, -2]]), np.array([[-3, 0.5]])
    logits = jnp.asarray(np.concatenate([means, spreads], axis=-1), jnp.float32)
    np.testing.assert_allclose(
        likelihoods.GAUSSIAN_LEARNED.image(logits), special.expit(means), rtol=1e-6
    )
    scales = np.exp(12 * np.tanh(spreads / 12) / 2)
    expected = -stats.norm.logpdf([[0.5, 0.25]], special.expit(means), scales).sum()
    loss = likelihoods.GAUSSIAN_LEARNED.loss(logits, jnp.array([[0.5, 0.25]]))
    np.testing.assert_allclose(loss, [expected], rtol=1e-5)


@pytest.mark.slow
def test_the_density_of_a_pixel_that_never_changes_has_a_bound() -> None:
    black = jnp.zeros((1, 1))
    for spread, scale in ((-1e3, np.exp(-6)), (1e3, np.exp(6))):
        loss = likelihoods.GAUSSIAN_LEARNED.loss(jnp.array([[-1e3, spread]]), black)
        np.testing.assert_allclose(loss, [-stats.norm.logpdf(0, 0, scale)], rtol=1e-5)


@pytest.mark.slow
def test_the_smallest_scale_puts_nearly_all_mass_on_one_level() -> None:
    logits = jnp.array([[float(special.logit(100 / 255)), -1e3]])
    loss = likelihoods.DISCRETIZED_LOGISTIC.loss(logits, jnp.array([[100 / 255]]))
    assert 0.99 < np.exp(-loss[0]) < 1


def test_a_discretized_logistic_reads_the_nearest_level() -> None:
    logits = with_spreads("discretized_logistic", np.zeros((2, 1)), -3)
    loss = jax.jit(likelihoods.DISCRETIZED_LOGISTIC.loss)
    near = jnp.array([[100.4 / 255], [255.4 / 255]])
    np.testing.assert_array_equal(loss(logits, near), loss(logits, jnp.array([[100 / 255], [1]])))
