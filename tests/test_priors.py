"""Samplers: distributed like the codes that they were fitted to, and equal for equal keys."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import likelihoods, models, priors
from jaxae.errors import UserError
from jaxae.models.autoencoders import identity
from jaxae.network import Network, Trained
from support.commands import run_program

GENERATOR = np.random.default_rng(0)
MIXED = np.array([[1.0, 0.0], [0.8, 0.6]])  # a correlation of 0.8
CORRELATED = (GENERATOR.normal(size=(2000, 2)) @ MIXED.T * [3, 0.5] + [10, -1]).astype(np.float32)


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed, impl="rbg")


def moments(codes: np.ndarray) -> np.ndarray:
    """Returns the means and the three covariances of codes [N, 2], standardized like CORRELATED."""
    standard = (codes - CORRELATED.mean(axis=0)) / CORRELATED.std(axis=0)
    return np.concatenate([standard.mean(axis=0), np.cov(standard.T)[np.triu_indices(2)]])


@pytest.fixture(scope="module")
def flow() -> priors.Sampler:
    return priors.fit_flow(
        key(), CORRELATED, layers=2, width=16, learning_rate=1e-2, epochs=15, batch_size=100
    )


def test_the_normal_prior_has_mean_0_and_variance_1_in_any_shape() -> None:
    codes = priors.normal((4, 4, 2))(key(), 500)
    assert codes.shape == (500, 4, 4, 2)
    assert codes.dtype == np.float32
    np.testing.assert_allclose([codes.mean(), codes.std()], [0, 1], atol=0.03)


def test_a_mixture_finds_two_far_clusters_and_their_weights() -> None:
    centers = np.array([[-100.0, 0.0, 5.0], [100.0, 50.0, 5.0]])
    members = np.repeat([0, 1], [300, 100])
    codes = centers[members] + GENERATOR.normal(size=(400, 3)) * [1, 2, 0]  # the last is constant
    new = priors.fit_mixture(codes, components=2)(key(), 4000)
    second = new[:, 0] > 0
    assert second.mean() == pytest.approx(0.25, abs=0.03)
    for mask, center in ((~second, centers[0]), (second, centers[1])):
        np.testing.assert_allclose(new[mask].mean(axis=0), center, atol=0.4)
        np.testing.assert_allclose(new[mask].std(axis=0), [1, 2, 0], rtol=0.2)


def test_one_component_is_the_gaussian_of_the_codes() -> None:
    new = priors.fit_mixture(CORRELATED, components=1)(key(), 20_000)
    np.testing.assert_allclose(moments(new), moments(CORRELATED), atol=0.04)


@pytest.mark.slow
def test_a_flow_has_the_mean_and_covariance_of_its_codes(flow: priors.Sampler) -> None:
    np.testing.assert_allclose(moments(flow(key(1), 10_000)), moments(CORRELATED), atol=0.15)


def test_resampled_parts_were_seen_at_their_place() -> None:
    codes = GENERATOR.integers(100, size=(5, 2, 3, 4)).astype(np.float32)
    new = priors.resample(codes, dimension=2)(key(), 300)
    assert new.shape == (300, 2, 3, 4)
    seen, drawn = codes.reshape(5, 6, 2, 2), new.reshape(300, 6, 2, 2)
    chosen = (drawn[:, None] == seen).all(axis=-1)  # [300, 5, 6, 2]
    assert chosen.any(axis=1).all()
    assert chosen.any(axis=0).all(), "each part seen is drawn"
    # Two parts come from the same code one time in five: they are drawn independently.
    together = chosen[..., 0] & chosen[..., 1]
    assert together.any(axis=1).mean() == pytest.approx(0.2, abs=0.05)


@pytest.mark.slow
def test_equal_keys_give_equal_codes_of_the_fitted_shape(flow: priors.Sampler) -> None:
    maps = GENERATOR.normal(size=(30, 2, 1, 3)).astype(np.float32)
    samplers = {
        "normal": (priors.normal((2,)), (2,)),
        "mixture": (priors.fit_mixture(maps, components=2), (2, 1, 3)),
        "flow": (flow, (2,)),
        "resample": (priors.resample(maps, dimension=1), (2, 1, 3)),
    }
    for sampler, shape in samplers.values():
        codes = sampler(key(3), 5)
        assert codes.shape == (5, *shape)
        assert codes.dtype == np.float32
        np.testing.assert_array_equal(codes, sampler(key(3), 5))
        assert (codes != sampler(key(4), 5)).any()


@pytest.mark.parametrize("fit", [priors.fit_mixture, priors.resample])
@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((20, 2), np.nan), "NaN"),
        (np.zeros(20), "shape"),
        (np.zeros((0, 2)), "shape"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_arrays_that_are_no_codes_are_refused(fit: Any, codes: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(codes, 1)


def test_too_few_codes_are_refused() -> None:
    with pytest.raises(UserError, match=r"10 components .* 9 distinct"):
        priors.fit_mixture(np.repeat(np.eye(9), 2, axis=0))
    with pytest.raises(UserError, match="all the same"):
        priors.fit_mixture(np.ones((50, 3)))
    with pytest.raises(UserError, match="to 9 codes"):
        priors.fit_flow(key(), np.eye(9))
    with pytest.raises(UserError, match="parts of 3"):
        priors.resample(np.eye(4), dimension=3)


def make_network(bottleneck: Any = identity) -> Trained:
    encoder, decoder = models.DenseEncoder((), 4), models.DenseDecoder((), (2, 2, 1))
    model = models.Autoencoder(encoder, decoder, bottleneck=bottleneck)
    variables = model.init(key(), jnp.zeros((1, 2, 2, 1)))
    return Trained(Network(model, likelihoods.BERNOULLI), variables)


@pytest.mark.slow
def test_a_networks_prior_is_fitted_to_its_codes() -> None:
    images = GENERATOR.integers(256, size=(510, 2, 2, 1)).astype(np.uint8)
    labels = np.zeros(510, int)
    network = make_network()
    codes = network.encode(images)
    np.testing.assert_allclose(network.encode(images[505:]), codes[505:], atol=1e-6)
    new = priors.of_network(network, images, labels, "mixture")(key(), 2000)
    np.testing.assert_allclose(new.mean(axis=0), codes.mean(axis=0), atol=0.1)
    assert priors.of_network(network, images, labels, "normal")(key(), 7).shape == (7, 4)
    with pytest.raises(UserError, match="does not quantize"):
        priors.of_network(network, images, labels, "resample")


def test_a_quantizing_networks_codes_are_resampled_by_its_groups() -> None:
    images = GENERATOR.integers(256, size=(5, 2, 2, 1)).astype(np.uint8)
    network = make_network(models.FiniteScalarQuantizer((5, 5)))  # groups of two numbers
    codes = network.encode(images)
    new = priors.of_network(network, images, np.zeros(5, int), "resample")(key(), 50)
    pairs = {tuple(pair) for pair in codes.reshape(5, 2, 2)[:, 0].tolist()}
    assert {tuple(pair) for pair in new.reshape(50, 2, 2)[:, 0].tolist()} == pairs


@pytest.mark.slow
def test_new_codes_of_a_top_k_network_have_no_more_numbers_than_it_keeps() -> None:
    images = GENERATOR.integers(256, size=(50, 2, 2, 1)).astype(np.uint8)
    network = make_network(models.TopK(2))
    new = priors.of_network(network, images, np.zeros(50, int), "mixture")(key(), 30)
    counts = np.count_nonzero(new, axis=1)
    assert counts.max() == 2  # fewer if one of the largest is 0


@pytest.mark.slow
def test_neither_flowjax_nor_scikit_learn_is_imported_before_it_is_needed() -> None:
    process = run_program("import_modules", "jaxae.priors")
    assert process.returncode == 0, process.stderr
    imported = process.stdout.split()
    assert "jaxae.priors" in imported
    assert not {"flowjax", "sklearn"} & set(imported)
