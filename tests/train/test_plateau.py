"""A learning rate that is halved when losses reach no new low."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import train
from jaxae.train import Examples, State
from jaxae.train.plateau import PATIENCE

PARAMS = {"x": jnp.array([1.0, 2.0])}
OPTIMIZER = train.on_plateau(optax.sgd(0.5))

pytestmark = pytest.mark.slow


def new_state(optimizer: optax.GradientTransformation = OPTIMIZER) -> State:
    return train.init(jax.random.key(0), {"params": PARAMS}, optimizer)


def rate(state: State, optimizer: optax.GradientTransformation = OPTIMIZER) -> Any:
    """Returns the learning rate of the next step."""
    gradient = jax.tree.map(jnp.ones_like, state.params)
    updates: Any
    updates, _ = optimizer.update(gradient, state.optimizer_state, state.params)
    return -updates["x"][0]


def observe(state: State, *losses: float) -> State:
    for loss in losses:
        state = train.observe_loss(state, loss)
    return state


@pytest.mark.parametrize("sign", [1, -1])
def test_the_rate_is_halved_after_five_losses_without_a_new_low(sign: float) -> None:
    """Also if losses are negative, as those of densities are."""
    low = 10.0 * sign
    state = observe(new_state(), low, *[low] * (PATIENCE - 1))
    assert rate(state) == 0.5
    state = observe(state, low)
    assert rate(state) == 0.25
    state = observe(state, *[low + 1] * PATIENCE)
    assert rate(state) == 0.125
    state = observe(state, *[low + 1] * (PATIENCE - 1), low - 0.01, low)
    assert rate(state) == 0.125


def test_nan_is_no_new_low() -> None:
    state = observe(new_state(), 3.0, *[float("nan")] * PATIENCE)
    assert rate(state) == 0.25
    state = observe(state, 2.0, *[2.5] * (PATIENCE - 1))
    assert rate(state) == 0.25


def test_the_first_loss_may_be_infinite_or_missing() -> None:
    state = observe(new_state(), float("inf"), float("nan"), 3.0, *[3.0] * (PATIENCE - 1))
    assert rate(state) == 0.5


def test_each_replica_has_its_own_plateau() -> None:
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), new_state())
    state = train.observe_loss(stacked, np.array([3.0, 3.0]))
    for number in range(PATIENCE):
        state = train.observe_loss(state, np.array([2.0 - number, 3.0]))
    first, second = (jax.tree.map(lambda leaf, i=index: leaf[i], state) for index in (0, 1))
    assert (rate(first), rate(second)) == (0.5, 0.25)


def test_the_plateau_is_found_within_other_optimizers_and_nowhere_else() -> None:
    wrapped = train.average_params(optax.chain(optax.clip(10.0), OPTIMIZER), 0.5)
    state = observe(new_state(wrapped), *[3.0] * (PATIENCE + 1))
    assert rate(state, wrapped) == 0.25
    # Optax's own observes the loss of each step by itself.
    for optimizer in (optax.adam(0.1), optax.contrib.reduce_on_plateau()):
        before = new_state(optimizer)
        after = observe(before, *[3.0] * (PATIENCE + 1))
        jax.tree.map(np.testing.assert_array_equal, after.optimizer_state, before.optimizer_state)


def objective(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
    distance = batch.images.mean((1, 2)) - variables["params"]["x"][None]
    return train.Terms(jnp.abs(distance).sum(1))


def test_a_fit_continues_from_the_state_that_is_revised_after_each_epoch() -> None:
    """With a loss that never falls, the rate of each epoch after the sixth is half that before."""
    images = np.zeros((6, 2, 2, 1), np.float32)
    observed = []

    def revise(state: State) -> State:
        observed.append(train.steps_done(state))
        return train.observe_loss(state, 1.0)

    fit = partial(
        train.fit,
        examples=Examples(images),
        objective=objective,
        optimizer=OPTIMIZER,
        batch_size=4,
        chunk_steps=1,
    )
    start = replace(new_state(), params={"x": jnp.array([100.0, 100.0])})
    chunks = list(fit(start, epochs=PATIENCE + 3, revise=revise))
    # After the last epoch is yielded, the generator ends.
    assert observed == [2 * epoch for epoch in range(1, PATIENCE + 4)]
    params = [100.0] + [float(chunk.state.params["x"][0]) for chunk in chunks]
    steps = -np.diff(params)
    np.testing.assert_allclose(steps, [0.5] * 2 * (PATIENCE + 1) + [0.25] * 4, rtol=1e-4)
    plain = list(fit(start, epochs=PATIENCE + 3))
    assert float(plain[-1].state.params["x"][0]) < params[-1]
