"""The weight of the KL term: in every variational objective, and as it grows in a warm-up."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from jax.test_util import check_grads

from jaxae import family, likelihoods, models, train
from jaxae.errors import UserError
from jaxae.family import FAMILY
from jaxae.network import Network
from jaxae.objectives import capacity_schedule, iwae, kl_warmup, kl_warmup_schedule, negative_elbo
from jaxae.objectives.posterior import codes_at, sampled_kl
from jaxae.runs import seeded_state
from jaxae.train import Batch
from support import linear_gaussian

pytestmark = pytest.mark.slow

KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
VARIATIONAL = [name for name, member in FAMILY.items() if member.variational]
WEIGHTED_SAMPLES = {"iwae", "miwae", "piwae", "ciwae"}
RANDOM = np.random.default_rng(0)
BATCH = Batch(
    jnp.asarray(RANDOM.integers(0, 256, (6, 4, 4, 1), np.uint8)),
    jnp.asarray(RANDOM.integers(0, 10, 6), jnp.int32),
    None,
    jnp.array([1.0, 1, 1, 1, 1, 0]),
)
WARMED = partial(
    kl_warmup, objective=partial(negative_elbo, network=linear_gaussian.NETWORK), steps=4
)


def settings_of(name: str) -> dict[str, Any]:
    """Returns a member's settings, with one sample where it takes several."""
    settings = family.choose_settings(name, {})
    return {key: 1 if key in ("samples", "groups") else value for key, value in settings.items()}


@cache
def member(name: str) -> tuple[Network, Any, Any]:
    """Returns a member's network, its objective and variables."""
    design = models.Design((4, 4, 1), 3, hidden=(8,))
    model = family.make_model(name, design, settings_of(name), classes=10)
    network = Network(model, likelihoods.BERNOULLI)
    objective = family.make_objective(name, network, settings_of(name), images=100)
    state = seeded_state(
        0,
        model=model,
        optimizer=optax.sgd(1.0),
        shape=(4, 4, 1),
        collections=capacity_schedule() if name == "capacity" else None,
    )
    return network, objective, train.variables_of(state)


@cache
def at(name: str, weight: float | None) -> tuple[train.Terms, Any]:
    """Returns a member's terms at a traced weight, None for its default, and the gradient."""
    _, objective, variables = member(name)

    def loss(params: Any, *weights: Array) -> tuple[Array, train.Terms]:
        named = dict(zip(["kl_weight"], weights, strict=False))
        terms = objective({**variables, "params": params}, KEY, BATCH, **named)
        return train.weighted_mean(terms.loss, BATCH.weights), terms

    weights = () if weight is None else (jnp.float32(weight),)
    gradient, terms = jax.jit(jax.grad(loss, has_aux=True))(variables["params"], *weights)
    return terms, gradient


def assert_close(actual: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


def test_the_members_with_a_posterior_are_the_variational_ones() -> None:
    assert [
        *("vae", "beta-vae", "capacity", "beta-tc", "info-vae", "iwae", "miwae", "piwae", "ciwae"),
        "conditional",
    ] == VARIATIONAL


@pytest.mark.parametrize("name", VARIATIONAL)
def test_at_weight_1_a_member_is_what_it_is_without_one(name: str) -> None:
    assert_close(at(name, 1.0), at(name, None))


@pytest.mark.parametrize("name", VARIATIONAL)
def test_at_weight_0_the_reconstruction_is_left(name: str) -> None:
    network, _, variables = member(name)
    terms, _ = at(name, 0.0)
    if name in WEIGHTED_SAMPLES:
        posterior = network.posterior(variables, BATCH.images, BATCH.labels)
        noise = jax.random.normal(jax.random.split(KEY, 1)[0], posterior.mean.shape)
        expected = network.distortion(variables, codes_at(posterior, noise), BATCH)
    else:
        expected = terms.metrics["reconstruction"]
    if name == "info-vae":  # the discrepancy is no part of the KL term
        settings = settings_of(name)
        weight = settings["alpha"] + settings["strength"] - 1
        expected = expected + weight * terms.metrics["discrepancy"]
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-5)


@pytest.mark.parametrize("name", VARIATIONAL)
def test_loss_and_gradient_are_between_those_of_weights_0_and_1(name: str) -> None:
    """With one sample, each loss is the reconstruction plus the weight times something."""
    (none, none_gradient), (part, gradient), (full, full_gradient) = (
        at(name, weight) for weight in (0.0, 0.25, 1.0)
    )
    np.testing.assert_allclose(part.loss, 0.75 * none.loss + 0.25 * full.loss, rtol=1e-4)
    expected = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, none_gradient, full_gradient)
    assert_close(gradient, expected, atol=1e-4)
    assert not np.allclose(none.loss, full.loss, rtol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_an_iwae_of_one_sample_is_the_elbo_with_beta_and_a_sampled_kl_term(weight: float) -> None:
    network, variables = linear_gaussian.NETWORK, linear_gaussian.mismatched_variables()
    batch = linear_gaussian.batch_of(linear_gaussian.images(5))
    (key,) = jax.random.split(KEY, 1)

    def expected(params: Any) -> Array:
        variables = {"params": params}
        posterior = network.posterior(variables, batch.images)
        noise = jax.random.normal(key, posterior.mean.shape)
        terms = negative_elbo(variables, key, batch, network=network, beta=weight)
        sampled = weight * (sampled_kl(posterior, noise) - terms.metrics["kl"])
        return (terms.loss + sampled).sum()

    def actual(params: Any) -> Array:
        return iwae(
            {"params": params}, KEY, batch, network=network, samples=1, kl_weight=weight
        ).loss.sum()

    results = [jax.jit(jax.value_and_grad(f))(variables["params"]) for f in (actual, expected)]
    assert_close(*results, atol=1e-3)


def test_the_gradient_of_several_weighted_samples_is_that_of_their_loss() -> None:
    batch = linear_gaussian.batch_of(linear_gaussian.images(5))

    def loss(params: Any) -> Array:
        variables = {"params": params}
        return iwae(
            variables, KEY, batch, network=linear_gaussian.NETWORK, samples=4, kl_weight=0.3
        ).loss.mean()

    params = linear_gaussian.mismatched_variables()["params"]
    check_grads(jax.jit(loss), (params,), order=1, modes=["rev"], rtol=0.02, atol=0.02)


# The warm-up.


@pytest.mark.parametrize(("count", "weight"), [(0, 0), (2, 0.5), (3, 0.75), (4, 1), (2**31 - 2, 1)])
def test_the_weight_grows_to_1_and_stays_there(count: int, weight: float) -> None:
    batch = linear_gaussian.batch_of(linear_gaussian.images(4))
    variables = {
        **linear_gaussian.mismatched_variables(),
        "kl_warmup": {"steps": jnp.int32(count)},
    }
    terms = WARMED(variables, KEY, batch)
    assert terms.metrics["kl_weight"] == weight
    assert terms.collections["kl_warmup"]["steps"] == count + 1
    assert terms.collections["kl_warmup"]["steps"].dtype == jnp.int32
    expected = terms.metrics["reconstruction"] + weight * terms.metrics["kl"]
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-6)


def test_a_capacity_and_a_warm_up_count_beside_each_other() -> None:
    _, objective, variables = member("capacity")
    warmed = partial(kl_warmup, objective=objective, steps=4)
    optimizer = optax.sgd(1e-3)
    state = train.init(KEY, {**variables, **kl_warmup_schedule()}, optimizer)
    step = jax.jit(partial(train.take_step, objective=warmed, optimizer=optimizer))
    weights = []
    for _ in range(3):
        state, totals = step(state, BATCH)
        weights.append(float(totals["kl_weight"] / totals["weight"]))
    assert weights == [0, 0.25, 0.5]
    counts = [state.collections[name]["steps"] for name in ("schedule", "kl_warmup")]
    assert counts == [3, 3]


@pytest.mark.parametrize(
    ("collections", "steps", "message"),
    [({}, 4, "kl_warmup_schedule"), (kl_warmup_schedule(), 0, "steps = 0")],
)
def test_no_count_and_no_steps_are_refused(collections: Any, steps: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kl_warmup({**collections}, KEY, BATCH, objective=negative_elbo, steps=steps)
