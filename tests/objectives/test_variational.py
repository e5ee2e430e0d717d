"""The capacity's schedule, and the parts that variational objectives share."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import losses, train
from jaxae.errors import UserError
from jaxae.models import Gaussian
from jaxae.objectives import capacity_annealed, capacity_schedule, negative_elbo
from jaxae.objectives.posterior import codes_at, sampled_kl
from jaxae.train import Examples
from support import linear_gaussian
from support.linear_gaussian import NETWORK, batch_of

pytestmark = pytest.mark.slow

KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
BATCH = replace(batch_of(linear_gaussian.images(4)), weights=jnp.array([1.0, 1, 1, 0]))
VARIABLES = linear_gaussian.mismatched_variables()
ANNEALED = partial(capacity_annealed, network=NETWORK, gamma=2.0, capacity=6.0, anneal_steps=3)


def variables_at(step: int) -> dict[str, Any]:
    return {**VARIABLES, "schedule": {"steps": jnp.int32(step)}}


# The capacity.


@pytest.mark.parametrize(("step", "capacity"), [(0, 0), (1, 2), (3, 6), (2**31 - 2, 6)])
def test_the_gap_is_from_the_batchs_mean_kl_to_a_capacity_that_grows(
    step: int, capacity: float
) -> None:
    terms = ANNEALED(variables_at(step), KEY, BATCH)
    plain = negative_elbo(VARIABLES, KEY, BATCH, network=NETWORK)
    gap = abs(np.mean(plain.metrics["kl"][:3]) - capacity)  # without the fourth, which is padding
    np.testing.assert_allclose(terms.metrics["capacity"], capacity, rtol=1e-6)
    np.testing.assert_allclose(terms.metrics["capacity_gap"], gap, rtol=1e-5)
    expected = plain.metrics["reconstruction"] + 2 * gap
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5),
        jax.jit(ANNEALED)(variables_at(step), KEY, BATCH),
        terms,
    )


def test_below_its_capacity_the_kl_term_grows_and_above_it_falls() -> None:
    def gradient(variables: Any, objective: Any) -> Any:
        def loss(params: Any) -> Any:
            terms = objective({**variables, "params": params}, KEY, BATCH)
            return train.weighted_mean(terms.loss, BATCH.weights)

        return jax.jit(jax.grad(loss))(variables["params"])

    kl = ANNEALED(variables_at(0), KEY, BATCH).metrics["kl"]
    assert 0 < np.mean(kl[:3]) < 6
    for step, sign in ((0, 2.0), (3, -2.0)):
        expected = gradient(VARIABLES, partial(negative_elbo, network=NETWORK, beta=sign))
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4),
            gradient(variables_at(step), ANNEALED),
            expected,
        )


def test_training_counts_steps_and_evaluation_reads_their_count() -> None:
    optimizer = optax.sgd(1e-3)
    state = train.init(KEY, {**VARIABLES, **capacity_schedule()}, optimizer)
    step = jax.jit(partial(train.take_step, objective=ANNEALED, optimizer=optimizer))
    evaluate = train.make_evaluation(ANNEALED, batch_size=3)
    examples = Examples(np.asarray(BATCH.images))
    for done, capacity in enumerate([0.0, 2, 4, 6, 6]):
        assert state.collections["schedule"]["steps"] == done
        for _ in range(2):  # the first evaluation, of two batches, left the count as it was
            means = evaluate(train.variables_of(state), KEY, examples)
            np.testing.assert_allclose(means["capacity"], capacity, rtol=1e-6)
        state, totals = step(state, BATCH)
        np.testing.assert_allclose(totals["capacity"] / totals["weight"], capacity, rtol=1e-6)


def test_replicas_count_alike() -> None:
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), variables_at(1))
    terms = jax.vmap(ANNEALED, (0, None, None))(both, KEY, BATCH)
    np.testing.assert_array_equal(terms.collections["schedule"]["steps"], [2, 2])
    assert terms.collections["schedule"]["steps"].dtype == jnp.int32


@pytest.mark.parametrize(
    ("variables", "settings", "message"),
    [(VARIABLES, {}, "capacity_schedule"), (variables_at(0), {"anneal_steps": 0}, "anneal_steps")],
)
def test_no_schedule_and_no_steps_are_refused(variables: Any, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        capacity_annealed(variables, KEY, BATCH, network=NETWORK, **settings)


# Shared parts.


def test_the_sampled_kl_is_the_kl_on_average() -> None:
    draws = 100_000
    mean, log_variance = jnp.array([0.5, -1.0, 0.0]), jnp.array([0.3, -4.0, 1.0])
    posterior = Gaussian(*(jnp.tile(row[None], (draws, 1)) for row in (mean, log_variance)))
    samples = sampled_kl(posterior, jax.random.normal(KEY, (draws, 3)))
    expected = losses.kl_to_standard_normal(mean[None], log_variance[None])[0]
    error = 5 * float(samples.std()) / draws**0.5
    np.testing.assert_allclose(samples.mean(), expected, atol=error)


def test_noise_picks_codes_of_the_posterior() -> None:
    posterior = Gaussian(jnp.array([[1.0, -2.0]]), jnp.log(jnp.array([[4.0, 0.25]])))
    codes = codes_at(posterior, jnp.array([[1.5, -1.0]]))
    np.testing.assert_allclose(codes, [[4.0, -2.5]], rtol=1e-6)


def test_distortions_are_those_of_each_sample() -> None:
    codes = jax.random.normal(KEY, (3, 4, linear_gaussian.LATENT))
    together = NETWORK.distortions(VARIABLES, codes, BATCH)
    for z, distortions in zip(codes, together, strict=True):
        expected = NETWORK.distortion(VARIABLES, z, BATCH)
        np.testing.assert_allclose(distortions, expected, rtol=1e-5)
