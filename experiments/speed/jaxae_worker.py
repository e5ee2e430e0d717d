"""Trains a recipe as its experiment does, and prints how long it took. compare.py starts it."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from experiment_files import configure, load_experiment
from jaxae import runs, train
from jaxae.train import Examples, epoch_order, steps_in_epoch
from speed_limits import limit_of
from speed_workloads import (
    Limit,
    Measurement,
    Request,
    Workload,
    host_memory,
    read_images,
    run_worker,
    take_times,
)


def measure(request: Request) -> Measurement:
    """Trains through `train.fit`, on images in memory."""
    workload = request.workload
    images = read_images(request)
    shape = images.shape[1:]
    experiment = load_experiment(workload.recipe)
    options = configure(experiment.Options(), workload)
    recipe = experiment.make_recipe(options, shape)
    state = runs.initial_state(options.run, recipe.network.model, recipe.optimizer, shape)
    examples = jax.device_put(Examples(images))
    times = take_times(make_take_steps(recipe, state, examples, workload), request)
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use")
    host = host_memory()  # before the measurement of the limit, which needs memory too
    limit = _measure_limit(recipe, state, examples, workload)
    name = f"JAX {jax.__version__}"
    return Measurement(name, device.device_kind, times, host, memory, limit=limit)


def make_take_steps(
    recipe: runs.Recipe, state: train.State, examples: Examples, workload: Workload
) -> Callable[[int], None]:
    """Returns a function that trains for a number of steps: first one, then a chunk each time."""
    # `fit` ends chunks at multiples of their length, so from one step before it takes one step.
    start = workload.chunk - 1
    chunks = train.fit(
        replace(state, step=jnp.full_like(state.step, start)),
        examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=2**31,
        batch_size=workload.batch_size,
        chunk_steps=workload.chunk,
    )
    steps_per_epoch = steps_in_epoch(workload.images, workload.batch_size)

    def take_steps(steps: int) -> None:
        nonlocal state, start
        stop = start + steps
        while start < stop:  # the end of an epoch splits a chunk
            progress = next(chunks)
            state = progress.state
            start = (progress.epoch - 1) * steps_per_epoch + progress.steps
        jax.block_until_ready(state)

    return take_steps


def _measure_limit(
    recipe: runs.Recipe, state: train.State, examples: Examples, workload: Workload
) -> Limit:
    """Measures the limit of one training step."""
    replicas = workload.replicas > 1
    step = train.make_training_step(recipe.objective, recipe.optimizer, replicas=replicas)
    order_of = jax.vmap(epoch_order, (0, None, None, None)) if replicas else epoch_order
    order = order_of(state.key, 0, workload.images, workload.batch_size)
    batch = examples.images.nbytes // workload.images * workload.batch_size * workload.replicas
    return limit_of(step, 0, state, (examples, order), images=batch)


if __name__ == "__main__":
    run_worker(measure)
