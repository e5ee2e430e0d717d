"""Replicas on a CPU, one per core: the bits of separate runs, whatever the number of cores."""

import threading
from dataclasses import replace
from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import devices, train
from jaxae.train import Batch, Examples
from jaxae.train.epochs import make_loop

pytestmark = pytest.mark.slow

BATCH = 4
OPTIMIZER = optax.adam(0.1)
EXAMPLES = Examples(np.random.default_rng(0).integers(0, 256, (22, 6), np.uint8))


def noisy(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    """The squared distance of a vector to noisy examples; it also counts steps."""
    center = variables["params"]["center"]
    images = batch.images.astype(center.dtype) / 255
    noise = jax.random.normal(key, images.shape, center.dtype)
    count = {"steps": variables["count"]["steps"] + 1}
    return train.Terms(jnp.square(images + noise - center[None]).sum(1), {}, {"count": count})


def new_state(seed: int, dtype: type = jnp.float32) -> train.State:
    center = jax.random.normal(jax.random.key(seed), (6,), dtype)
    variables = {"params": {"center": center}, "count": {"steps": jnp.zeros((), jnp.int32)}}
    return train.init(jax.random.key(100 + seed), variables, OPTIMIZER)


def stack(states: list[train.State]) -> train.State:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def results(progress: train.Progress) -> list[jax.Array]:
    """Returns all arrays of a fit's progress that are not keys."""
    state = replace(progress.state, key=jax.random.key_data(progress.state.key))
    return jax.tree.leaves((state, progress.totals))


fit = partial(train.fit, examples=EXAMPLES, optimizer=OPTIMIZER, epochs=2, batch_size=BATCH)


@pytest.mark.parametrize("chunk_steps", [1, 4, None])
@pytest.mark.parametrize(("replicas", "cores"), [(3, 1), (3, 2), (5, 4), (4, 2), (2, 16)])
def test_replicas_have_the_bits_of_separate_runs(
    replicas: int, cores: int, chunk_steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: cores)
    states = [new_state(seed) for seed in range(replicas)]
    together = list(fit(stack(states), objective=noisy, chunk_steps=chunk_steps))
    for index, state in enumerate(states):
        alone = list(fit(state, objective=noisy, chunk_steps=chunk_steps))
        for ours, theirs in zip(together, alone, strict=True):
            own = map(itemgetter(index), results(ours))
            for leaf, expected in zip(own, results(theirs), strict=True):
                np.testing.assert_array_equal(leaf, expected)


def test_evaluations_have_the_bits_of_separate_ones_and_can_be_compiled() -> None:
    states = [new_state(seed) for seed in range(3)]
    variables, key = train.variables_of(stack(states)), jax.random.key(0)
    evaluate = train.make_evaluation(noisy, BATCH, replicas=True)
    together = evaluate(variables, key, EXAMPLES)["loss"]
    alone = train.make_evaluation(noisy, BATCH)
    losses = [alone(train.variables_of(state), key, EXAMPLES)["loss"] for state in states]
    np.testing.assert_array_equal(together, losses)
    examples = jax.tree.map(jnp.asarray, EXAMPLES)
    np.testing.assert_allclose(
        jax.jit(evaluate)(variables, key, examples)["loss"], losses, rtol=1e-6
    )


def test_threads_compute_with_the_settings_of_the_caller() -> None:
    with jax.enable_x64(True):
        states = [new_state(seed, jnp.float64) for seed in range(3)]
        *_, together = fit(stack(states), objective=noisy)
        *_, alone = fit(states[2], objective=noisy)
    assert together.state.params["center"].dtype == jnp.float64
    np.testing.assert_array_equal(together.state.params["center"][2], alone.state.params["center"])


def test_one_loop_serves_callers_with_different_settings() -> None:
    evaluate = train.make_evaluation(noisy, BATCH, replicas=True)
    variables = train.variables_of(stack([new_state(seed) for seed in range(3)]))
    losses = []
    for doubled in (False, True, False):
        with jax.enable_x64(doubled):
            losses.append(evaluate(variables, jax.random.key(0), EXAMPLES)["loss"])
    np.testing.assert_array_equal(losses[0], losses[2])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_all_replicas_and_chunks_share_one_program() -> None:
    traced = []

    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        traced.append(None)
        return noisy(variables, key, batch)

    chunks = fit(stack([new_state(seed) for seed in range(3)]), objective=objective, chunk_steps=4)
    next(chunks)
    after_first_chunk = len(traced)
    assert len(list(chunks)) == 3  # to steps 6, 8 and 12
    assert len(traced) == after_first_chunk


def test_two_cores_run_two_replicas_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 2)
    both = threading.Barrier(2, timeout=60)

    def wait(loss: np.ndarray) -> np.ndarray:
        both.wait()
        return loss

    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        terms = noisy(variables, key, batch)
        loss = jax.lax.stop_gradient(terms.loss)
        waited = jax.pure_callback(wait, loss, loss, vmap_method="sequential")
        return replace(terms, metrics={"waited": waited})

    *_, progress = fit(stack([new_state(0), new_state(1)]), objective=objective)
    np.testing.assert_array_equal(progress.metrics["waited"], progress.metrics["loss"])


def test_an_error_in_one_replica_ends_the_fit() -> None:
    def fail(loss: np.ndarray) -> np.ndarray:
        raise FloatingPointError("a callback of replica 1")

    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        terms = noisy(variables, key, batch)
        loss = jax.lax.stop_gradient(terms.loss)
        fails = variables["params"]["center"][0] == 7
        call = partial(jax.pure_callback, fail, vmap_method="sequential")
        checked = jax.lax.cond(fails, lambda x: call(x, x), lambda x: x, loss)
        return replace(terms, metrics={"checked": checked})

    states = [new_state(seed) for seed in range(3)]
    states[1].params["center"] = jnp.full((6,), 7.0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="a callback of replica 1"):
        list(fit(stack(states), objective=objective))


def test_a_loop_trains_again_after_an_error() -> None:
    def fail_at_7(value: np.ndarray) -> np.ndarray:
        if value == 7:
            raise FloatingPointError("a callback at 7")
        return value

    def step(index: jax.Array, carry: jax.Array, context: tuple) -> tuple[jax.Array, jax.Array]:
        return carry, jax.pure_callback(fail_at_7, carry, carry)

    loop = make_loop(step, replicas=True)
    zeros = jnp.zeros(3)
    with pytest.raises(jax.errors.JaxRuntimeError, match="a callback at 7"):
        loop(jnp.array([1.0, 7.0, 2.0]), zeros, (None, zeros), 0, 2)
    _, totals = loop(jnp.array([1.0, 3.0, 2.0]), zeros, (None, zeros), 0, 2)
    np.testing.assert_array_equal(totals, [2, 6, 4])
