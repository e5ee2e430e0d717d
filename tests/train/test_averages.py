"""Averaged parameters against plain loops, and the variables that a state is evaluated with."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import train
from jaxae.errors import UserError
from jaxae.train import Batch

IMAGES = np.random.default_rng(0).random((4, 2, 2, 1), np.float32)
START = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.1, 0.2])}


def batch(number: int = 0) -> Batch:
    return Batch(jnp.asarray(IMAGES) + number, None, None, jnp.ones(4))


def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    params = variables["params"]
    x = batch.images.mean(3)
    distance = jnp.square(x @ params["w"] - params["b"][None, None])
    return train.Terms(jnp.log1p(distance).sum((1, 2)))


def states(optimizer: optax.GradientTransformation, steps: int, start: Any = None) -> list:
    """Returns the states before and after each of some steps, each of another batch."""
    state = train.init(jax.random.key(0), {"params": start or START}, optimizer)
    step = jax.jit(partial(train.take_step, objective=objective, optimizer=optimizer))
    found = [state]
    for number in range(steps):
        found.append(step(found[-1], batch(number))[0])
    return found


def assert_close(tree: Any, expected: Any, rtol: float = 1e-6) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=1e-7), tree, expected)


def evaluated(state: train.State) -> Any:
    return train.evaluation_variables(state)["params"]


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_the_average_is_that_of_a_loop_over_the_parameters(decay: float) -> None:
    found = states(train.average_params(optax.sgd(0.1), decay), 5)
    for count in range(1, 6):
        weights = [decay ** (count - step) for step in range(1, count + 1)]
        params = [jax.tree.map(np.float64, state.params) for state in found[1 : count + 1]]
        expected = jax.tree.map(
            lambda *leaves, weights=weights: np.average(leaves, axis=0, weights=weights), *params
        )
        assert_close(evaluated(found[count]), expected)
    plain = states(optax.sgd(0.1), 5)
    jax.tree.map(np.testing.assert_array_equal, found[-1].params, plain[-1].params)


@pytest.mark.slow
def test_before_the_first_step_the_parameters_are_their_average() -> None:
    (state,) = states(train.average_params(optax.sgd(0.1), 0.9), 0)
    jax.tree.map(np.testing.assert_array_equal, evaluated(state), START)
    (state,) = states(optax.contrib.schedule_free_sgd(0.1), 0)
    assert_close(evaluated(state), START)


@pytest.mark.slow
def test_a_schedule_free_state_is_evaluated_as_optax_does() -> None:
    optimizer = optax.contrib.schedule_free_adamw(0.1, warmup_steps=2)
    state = states(optimizer, 4)[-1]
    expected = optax.contrib.schedule_free_eval_params(state.optimizer_state, state.params)
    assert_close(evaluated(state), expected)
    assert not np.allclose(evaluated(state)["w"], state.params["w"])
    chained = states(optax.chain(optax.clip_by_global_norm(1e9), optimizer), 4)[-1]
    assert_close(evaluated(chained), expected)


@pytest.mark.slow
def test_of_an_optimizer_of_some_parameters_nothing_is_averaged() -> None:
    optimizer = optax.partition(
        {"free": optax.contrib.schedule_free_sgd(0.1), "fixed": optax.sgd(0.1)},
        {"w": "free", "b": "fixed"},
    )
    state = states(optimizer, 2)[-1]
    assert train.averaged_params(state) is None
    assert evaluated(state) is state.params


def test_without_an_average_a_state_is_evaluated_as_it_is() -> None:
    state = train.init(jax.random.key(0), {"params": START, "other": {}}, optax.adam(0.1))
    assert train.averaged_params(state) is None
    assert train.evaluation_variables(state) == train.variables_of(state)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ema", "schedule-free"])
def test_replicas_are_averaged_like_separate_states(kind: str) -> None:
    optimizer = (
        train.average_params(optax.adam(0.1), 0.7)
        if kind == "ema"
        else optax.contrib.schedule_free_sgd(0.1)
    )
    starts = [START, jax.tree.map(lambda leaf: -leaf, START)]
    separate = [states(optimizer, 3, start)[-1] for start in starts]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *separate)
    averaged = evaluated(together)
    for index, state in enumerate(separate):
        assert_close(jax.tree.map(lambda leaf, i=index: leaf[i], averaged), evaluated(state))


@pytest.mark.slow
def test_a_step_that_is_not_finite_leaves_the_average() -> None:
    optimizer = train.average_params(optax.sgd(0.1), 0.5)
    before = states(optimizer, 2)[-1]
    bad = replace(batch(), images=jnp.full((4, 2, 2, 1), jnp.inf))
    after, _ = train.take_step(before, bad, objective=objective, optimizer=optimizer)
    assert after.skipped == 1
    jax.tree.map(np.testing.assert_array_equal, evaluated(after), evaluated(before))


@pytest.mark.slow
def test_an_averaged_optimizer_is_given_the_loss() -> None:
    """A line search works within the average as it does without."""
    averaged = states(train.average_params(optax.lbfgs(), 0.5), 2)[-1]
    plain = states(optax.lbfgs(), 2)[-1]
    jax.tree.map(np.testing.assert_array_equal, averaged.params, plain.params)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_its_range_is_refused(decay: float) -> None:
    with pytest.raises(UserError, match="give 0 or more, and less than 1"):
        train.average_params(optax.sgd(0.1), decay)
