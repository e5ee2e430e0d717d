"""A step: the terms that an objective may return, and the arguments of an optimizer."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import train
from jaxae.errors import UserError
from jaxae.train import Examples, epoch_order, gather
from jaxae.train.terms import RESERVED

SIZE, BATCH, STEPS = 12, 5, 3  # the last batch has 2
IMAGES = np.random.default_rng(0).random((SIZE, 2, 2, 1), np.float32)
EXAMPLES = Examples(IMAGES)


def noisy(variables: train.Variables, key: jax.Array, batch: Any) -> train.Terms:
    """Returns a distance to noise that is not quadratic; the noise differs at each step."""
    x = variables["params"]["x"]
    goal = batch.images.mean((1, 2)) + jax.random.normal(key, (2,))[None]
    return train.Terms(jnp.cosh(x[None] - goal).sum(1))


def new_state(optimizer: optax.GradientTransformation, start: float = 0.0) -> train.State:
    params = {"x": jnp.array([start, 2.0])}
    return train.init(jax.random.key(int(start)), {"params": params}, optimizer)


def run(
    state: train.State, objective: train.Objective, optimizer: optax.GradientTransformation
) -> train.Progress:
    fit = train.fit(
        state, EXAMPLES, objective=objective, optimizer=optimizer, epochs=1, batch_size=BATCH
    )
    (end,) = fit
    return end


OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "reduce_on_plateau": lambda: optax.chain(
        optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.3)
    ),
    "polyak": optax.polyak_sgd,
    "lbfgs": optax.lbfgs,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_given_the_loss_as_in_a_loop_of_optax(name: str) -> None:
    """Two replicas have their own losses and line searches."""
    optimizer = OPTIMIZERS[name]()
    states = [new_state(optimizer, start) for start in (1.0, -3.0)]
    update = optax.with_extra_args_support(optimizer).update

    @jax.jit
    def plain_step(params: Any, memory: Any, batch: Any, key: jax.Array) -> tuple[Any, Any]:
        def value_fn(params: Any) -> jax.Array:
            losses = noisy({"params": params}, key, batch).loss
            return (losses * batch.weights).sum() / batch.weights.sum()

        value, grad = jax.value_and_grad(value_fn)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
            extra = {"value": value, "grad": grad, "value_fn": value_fn}
            updates, memory = update(grad, memory, params, **extra)
        return optax.apply_updates(params, updates), memory

    together = run(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), noisy, optimizer)
    for replica, state in enumerate(states):
        params, memory = state.params, state.optimizer_state
        for step, indices in enumerate(epoch_order(state.key, 0, SIZE, BATCH)):
            key = jax.random.fold_in(jax.random.split(state.key)[1], step)
            batch = gather(jax.tree.map(jnp.asarray, EXAMPLES), indices)
            params, memory = plain_step(params, memory, batch, key)
        assert not np.allclose(params["x"], state.params["x"], atol=1e-2)
        trained = together.state.params["x"][replica]
        np.testing.assert_allclose(trained, params["x"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_line_search_at_a_step_that_is_not_finite_changes_nothing() -> None:
    optimizer = optax.lbfgs()
    step = train.make_step(noisy, optimizer)
    batch = gather(jax.tree.map(jnp.asarray, EXAMPLES), jnp.arange(BATCH))
    before, _ = step(new_state(optimizer), batch)
    after, metrics = step(before, replace(batch, images=batch.images.at[0].set(jnp.nan)))
    assert (after.skipped, metrics["skipped_steps"]) == (1, 1)
    kept = partial(jax.tree.map, np.testing.assert_array_equal)
    kept(
        (after.params, after.optimizer_state, after.collections),
        (before.params, before.optimizer_state, before.collections),
    )


@pytest.mark.slow
def test_an_optimizer_that_takes_no_loss_is_given_none() -> None:
    """Even `sam`, whose update has an extra argument, but none of these."""
    optimizer = optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1))
    assert run(new_state(optimizer), noisy, optimizer).state.step == STEPS


def returning(terms: Callable[[int], Any]) -> train.Objective:
    """Returns an objective whose result depends on the batch size only."""

    def objective(variables: train.Variables, key: jax.Array, batch: Any) -> Any:
        del variables, key
        return terms(batch.weights.shape[0])

    return objective


untyped_terms: Any = train.Terms
"""For arguments of the wrong type."""


REFUSED: dict[str, Callable[[int], Any]] = {
    r"loss of shape \[5, 2, 2\] .* batch of 5": lambda n: train.Terms(jnp.zeros((n, 2, 2))),
    r"loss of shape \[1\] .* batch of 5": lambda n: train.Terms(jnp.zeros(1)),
    r"loss of shape \[5, 1\]": lambda n: train.Terms(jnp.zeros((n, 1))),
    r"error of shape \[2\]": lambda n: train.Terms(jnp.zeros(n), {"error": jnp.zeros(2)}),
    r"a collection called ema": lambda n: train.Terms(jnp.zeros(n), {}, {"ema": jnp.zeros(())}),
    r"params among the collections: only the optimizer": lambda n: train.Terms(
        jnp.zeros(n), {}, {"params": {}}
    ),
    r"returned an array: return train.Terms": jnp.zeros,
    r"returned tuple: return train.Terms": lambda n: (jnp.zeros(n), {}),
    r"returned NoneType: return train.Terms": lambda n: None,
    r"returned list as loss: .* each example, \[5\]": lambda n: untyped_terms(list(jnp.zeros(n))),
    r"returned loss of type complex64": lambda n: train.Terms(jnp.zeros(n, jnp.complex64)),
    r"returned error of type key": lambda n: train.Terms(
        jnp.zeros(n), {"error": jax.random.key(0)}
    ),
    r"returned error of type <U1": lambda n: untyped_terms(jnp.zeros(n), {"error": np.array("a")}),
    r"a metric called 2: give metrics names": lambda n: untyped_terms(
        jnp.zeros(n), {"error": jnp.zeros(n), 2: jnp.zeros(n)}
    ),
    r"returned tuple as error: ": lambda n: untyped_terms(jnp.zeros(n), {"error": (0.0,) * n}),
    r"returned an array as metrics: return a dict": lambda n: untyped_terms(
        jnp.zeros(n), jnp.ones(n)
    ),
    r"returned list as collections: return a dict": lambda n: untyped_terms(jnp.zeros(n), {}, []),
    **{
        f"a metric called {name}: ": lambda n, name=name: train.Terms(
            jnp.zeros(n), {name: jnp.zeros(n)}
        )
        for name in RESERVED
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_terms_that_mean_nothing_are_refused_wherever_they_are_returned(message: str) -> None:
    objective, optimizer = returning(REFUSED[message]), optax.sgd(0.1)
    state, variables = new_state(optimizer), {"params": {"x": jnp.zeros(2)}}
    batch = gather(jax.tree.map(jnp.asarray, EXAMPLES), jnp.arange(BATCH))
    uses: list[Callable[[], Any]] = [
        lambda: run(state, objective, optimizer),
        lambda: train.make_step(objective, optimizer)(state, batch),
        lambda: train.take_step(state, batch, objective=objective, optimizer=optimizer),
        lambda: train.loss_and_gradient(state, batch, objective=objective),
        lambda: train.make_epoch(objective, optimizer, BATCH)(state, EXAMPLES),
        lambda: train.make_evaluation(objective, BATCH)(variables, state.key, EXAMPLES),
    ]
    for use in uses:
        with pytest.raises(UserError, match=message):
            use()


@pytest.mark.slow
def test_lists_train_as_arrays_do() -> None:
    def objective(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
        del key
        means = train.pixels(batch.images).mean((1, 2, 3))
        return train.Terms((means - variables["params"]["x"].sum()) ** 2)

    optimizer = optax.sgd(0.1)
    state = new_state(optimizer)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 2, 2, 1), np.uint8)
    weights = [1.0] * (BATCH - 1) + [0.0]
    arrays = train.Batch(jnp.asarray(images), None, None, jnp.asarray(weights))
    step = train.make_step(objective, optimizer)
    epoch = train.make_epoch(objective, optimizer, BATCH)
    evaluate = train.make_evaluation(objective, BATCH)
    variables, kept = train.variables_of(state), jnp.arange(2)

    def fit(examples: train.Examples) -> Any:
        options: Any = {"objective": objective, "optimizer": optimizer}
        options |= {"epochs": 1, "batch_size": 2}
        return [progress.state.params for progress in train.fit(state, examples, **options)]

    def numbers(tree: Any) -> list[Any]:
        return [
            x for x in jax.tree.leaves(tree) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        ]

    for nested in (list(images), images.tolist()):
        lists = train.Batch(cast(Any, nested), None, None, cast(Any, weights))
        examples = train.Examples(cast(Any, nested))
        for of_lists, of_arrays in (
            (step(state, lists), step(state, arrays)),
            (
                train.loss_and_gradient(state, lists, objective=objective),
                train.loss_and_gradient(state, arrays, objective=objective),
            ),
            (epoch(state, examples), epoch(state, train.Examples(images))),
            (
                evaluate(variables, state.key, examples),
                evaluate(variables, state.key, train.Examples(images)),
            ),
            (fit(examples), fit(train.Examples(images))),
            (gather(examples, kept), gather(train.Examples(jnp.asarray(images)), kept)),
        ):
            jax.tree.map(np.testing.assert_array_equal, numbers(of_lists), numbers(of_arrays))


def test_help_shows_what_an_objective_reads_and_returns() -> None:
    for documented in (train.Terms, train.State, train.Batch, train.Examples):
        for field in dataclasses.fields(cast(Any, documented)):
            assert f"\n  {field.name}: " in inspect.cleandoc(documented.__doc__ or "")
    assert "(variables, key, batch) -> Terms" in (train.Objective.__doc__ or "")
