"""Penalties on codes against their definitions; padding, dead codes and extremes."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.special import rel_entr

from jaxae import likelihoods, losses, models, objectives
from jaxae.network import Network, apply
from jaxae.objectives import discrepancy, regularized
from jaxae.train import Batch, Terms, pixels

pytestmark = pytest.mark.slow

SHAPE = (8, 8, 1)
KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
LIKELIHOOD = likelihoods.GAUSSIAN_TANH  # its network reads 2 x - 1
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8))
BATCH = Batch(IMAGES, None, None, jnp.ones(3))


def model_of(kind: Any) -> models.Autoencoder:
    design = models.Design(SHAPE, 4, kind, (6,), activation=nn.tanh)
    return models.Autoencoder(*models.make_pair(design, 4, maps=kind == "conv"))


def variables_of(model: nn.Module) -> Any:
    return jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, *SHAPE)))


def variational() -> models.VariationalAutoencoder:
    return models.VariationalAutoencoder(
        models.DenseEncoder((6,), 8), models.DenseDecoder((6,), SHAPE)
    )


def terms_of(objective: Any, model: nn.Module, key: Array = KEY, **settings: float) -> Terms:
    bound = partial(objective, network=Network(model, LIKELIHOOD), **settings)
    return jax.jit(bound)(variables_of(model), key, BATCH)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_contraction_is_the_jacobians_squared_norm(kind: str) -> None:
    model = model_of(kind)
    variables, x = variables_of(model), LIKELIHOOD.scale(pixels(IMAGES))

    @jax.jit
    def squared_norms(x: Array) -> Array:
        def encode(image: Array) -> Array:
            return apply(model, variables, image[None], method="encode")

        return jnp.stack([jnp.square(jax.jacobian(encode)(image)).sum() for image in x])

    exact = squared_norms(x)
    terms = terms_of(objectives.contractive, model, weight=0.3)
    np.testing.assert_allclose(terms.metrics["contraction"], exact, rtol=1e-4)
    np.testing.assert_allclose(terms.loss, terms.metrics["reconstruction"] + 0.3 * exact, rtol=1e-4)
    estimate = partial(
        objectives.contractive_estimate, network=Network(model, LIKELIHOOD), weight=0.3, probes=2
    )
    draws = jax.jit(jax.vmap(lambda key: estimate(variables, key, BATCH).metrics["contraction"]))
    estimates = np.asarray(draws(jax.random.split(KEY, 1000)))
    error = estimates.std(axis=0) / 1000**0.5
    assert (abs(estimates.mean(axis=0) - exact) < 5 * error).all()


def test_the_decoders_gradient_is_that_of_the_image() -> None:
    model = model_of("dense")
    variables = variables_of(model)
    z = Network(model, LIKELIHOOD).encode(variables, IMAGES)

    def decode(code: Array) -> Array:
        return LIKELIHOOD.image(apply(model, variables, code[None], method="decode"))

    exact = np.stack([np.square(jax.jacobian(decode)(code)).sum() for code in z])
    objective = partial(objectives.rae_gp, network=Network(model, LIKELIHOOD))
    draws = jax.jit(jax.vmap(lambda key: objective(variables, key, BATCH).metrics))
    metrics = draws(jax.random.split(KEY, 1000))
    estimates = np.asarray(metrics["decoder_gradient"])
    error = estimates.std(axis=0) / 1000**0.5
    assert (abs(estimates.mean(axis=0) - exact) < 5 * error).all()
    np.testing.assert_allclose(metrics["code_norm"][0], jnp.square(z).sum(1) / 2, rtol=1e-5)


def test_norms() -> None:
    model = model_of("dense")
    variables = variables_of(model)
    z = Network(model, LIKELIHOOD).encode(variables, IMAGES)
    leaves = jax.tree.leaves(variables["params"]["decoder"])
    terms = terms_of(objectives.rae_l2, model, code_weight=0.5, decoder_weight=0.1)
    expected = sum(float(np.square(leaf).sum()) for leaf in leaves)
    np.testing.assert_allclose(terms.metrics["decoder_norm"], expected, rtol=1e-5)
    reconstruction = objectives.reconstruction(
        variables, KEY, BATCH, network=Network(model, LIKELIHOOD)
    ).loss
    total = reconstruction + 0.25 * jnp.square(z).sum(1) + 0.1 * expected
    np.testing.assert_allclose(terms.loss, total, rtol=1e-4)
    l1 = terms_of(objectives.sparse_l1, model, weight=2.0)
    np.testing.assert_allclose(l1.loss, reconstruction + 2 * jnp.abs(z).sum(1), rtol=1e-4)


def test_rates() -> None:
    means = jnp.array([0.1, 0.5, 0.05])
    expected = rel_entr(0.05, means) + rel_entr(0.95, 1 - np.asarray(means))
    np.testing.assert_allclose(regularized.kl_of_rate(0.05, means), expected, rtol=1e-4, atol=1e-5)
    ends = jnp.array([0.0, 1.0, -3.0, 7.0])
    for rate in (0.0, 0.05, 1.0):
        value, slope = jax.vmap(jax.value_and_grad(partial(regularized.kl_of_rate, rate)))(ends)
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()
    # A number that is always off is drawn toward the rate.
    assert jax.grad(partial(regularized.kl_of_rate, 0.05))(0.0) < 0
    codes = jnp.array([[0.2, 1.0], [0.4, 0.0], [9.0, 9.0]])
    mean = regularized.mean_over_batch(codes, jnp.array([1.0, 1, 0]))
    np.testing.assert_allclose(mean, [0.3, 0.5], rtol=1e-6)


def test_discrepancies_are_those_of_codes_and_prior() -> None:
    model = model_of("conv")
    z = Network(model, LIKELIHOOD).encode(variables_of(model), IMAGES)
    codes = z.reshape(3, -1)
    prior = jax.random.normal(KEY, codes.shape)
    expected = discrepancy.mmd(codes, prior, jnp.ones(3), kernel=objectives.rbf)
    wasserstein = partial(objectives.wasserstein, kernel=objectives.rbf)
    terms = terms_of(wasserstein, model, weight=3.0)
    np.testing.assert_allclose(terms.metrics["discrepancy"], expected, rtol=1e-3, atol=1e-5)
    assert terms.metrics["discrepancy"].shape == ()


def test_info_vae_without_discrepancy_is_the_elbo() -> None:
    model = variational()
    terms = terms_of(objectives.info_vae, model, alpha=0.0, strength=1.0)
    x = LIKELIHOOD.scale(pixels(IMAGES))
    posterior = apply(model, variables_of(model), x, method="posterior")
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    np.testing.assert_allclose(terms.metrics["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(terms.loss, terms.metrics["reconstruction"] + kl, rtol=1e-4)


@pytest.mark.parametrize("objective", [objectives.sparse_kl, objectives.wasserstein])
def test_padding_is_left_out_exactly_whatever_its_contents(objective: Any) -> None:
    check_padding(objective, model_of("conv"))


def test_padding_is_left_out_of_codes_that_are_drawn() -> None:
    check_padding(objectives.info_vae, variational())


def check_padding(objective: Any, model: nn.Module) -> None:
    """Checks that the contents of two padded rows do not change a bit of loss and gradient."""
    bound, variables = partial(objective, network=Network(model, LIKELIHOOD)), variables_of(model)
    weights = jnp.array([1.0, 1, 1, 0, 0])

    @jax.jit
    def loss_and_gradient(padding: Array) -> Any:
        batch = Batch(jnp.concatenate([pixels(IMAGES), padding]), None, None, weights)

        def loss(variables: Any) -> Array:
            return bound(variables, KEY, batch).loss[:3].sum()

        return jax.value_and_grad(loss)(variables)

    fillings = jnp.stack([jnp.zeros((2, *SHAPE)), jnp.ones((2, *SHAPE)), pixels(IMAGES)[:2]])
    first, *others = (loss_and_gradient(padding) for padding in fillings)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(first[1]))
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)


PENALTIES = {
    "sparse_l1": objectives.sparse_l1,
    "sparse_kl": objectives.sparse_kl,
    "contractive": objectives.contractive,
    "contractive_estimate": objectives.contractive_estimate,
    "rae_l2": objectives.rae_l2,
    "rae_gp": objectives.rae_gp,
    "wasserstein": objectives.wasserstein,
    "wasserstein_rbf": partial(objectives.wasserstein, kernel=objectives.rbf),
}


def test_dead_and_huge_codes_have_finite_losses_and_gradients() -> None:
    """The last bias alone makes the code: all examples share it, and no weight has an effect."""
    model = models.Autoencoder(
        models.DenseEncoder((), 4), models.DenseDecoder((), SHAPE), nn.sigmoid
    )
    linear = models.Autoencoder(model.encoder, model.decoder)
    zeros = jax.tree.map(jnp.zeros_like, variables_of(model))

    def loss(objective: Any, network: nn.Module, variables: Any) -> Array:
        terms = objective(variables, KEY, BATCH, network=Network(network, LIKELIHOOD))
        return terms.loss.sum()

    @jax.jit
    def losses_and_gradients(bias: Array) -> Any:
        variables = jax.tree.map(lambda leaf: leaf, zeros)
        variables["params"]["encoder"]["Dense_0"]["bias"] = jnp.full(4, bias)
        return {
            name: jax.value_and_grad(partial(loss, objective, network))(variables)
            for name, objective in PENALTIES.items()
            for network in [model if name == "sparse_kl" else linear]
        }

    for bias in (0.0, -1e3, 1e3):
        for name, result in losses_and_gradients(bias).items():
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result)), (name, bias)
