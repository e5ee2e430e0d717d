"""The trainings of gpu.py: the six recipes, each member of the family, and published networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiment_files import configure, default_workload, load_experiment
from jaxae import family, likelihoods, models, objectives, runs, train
from jaxae.models import lecun
from jaxae.network import Network
from jaxae.runs import RunOptions
from jaxae.train import Examples, epoch_order
from jaxae_worker import make_take_steps
from speed_workloads import CHUNKS, Workload

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Training:
    """A recipe, the state before its first step, its images, and its sizes."""

    recipe: runs.Recipe
    state: train.State
    examples: Examples  # on the device
    workload: Workload


def of_experiment(
    name: str,
    images: np.ndarray,
    *,
    precision: Precision = "float32",
    batch_size: int | None = None,
    replicas: int = 1,
    state: train.State | None = None,
) -> Training:
    """Returns an experiment's own training on images [N, H, W, C], from `state` or a new one."""
    own = default_workload(name, CHUNKS)
    workload = replace(
        own, images=len(images), batch_size=batch_size or own.batch_size, replicas=replicas
    )
    experiment = load_experiment(name)
    options = configure(experiment.Options(), workload)
    options = replace(options, run=replace(options.run, precision=precision))
    recipe = experiment.make_recipe(options, images.shape[1:])
    return _start(recipe, options.run, images, workload, state)


def of_member(
    name: str,
    images: np.ndarray,
    *,
    precision: Precision = "float32",
    state: train.State | None = None,
) -> Training:
    """Returns the training of a member with default settings and a dense network."""
    options = RunOptions(epochs=1, batch_size=64, learning_rate=1e-3, precision=precision)
    design = models.Design(images.shape[1:], 20, dtype=options.dtype)
    recipe = _member_recipe(name, design, {}, options, images=len(images))
    workload = Workload(name, 64, 1e-3, 20, len(images), CHUNKS)
    return _start(recipe, options, images, workload, state)


def of_published(samples: int, images: np.ndarray, *, replicas: int) -> Training:
    """Returns the training of 784-200-200-50 in published.py's table iwae; 1 sample is a VAE."""
    options = RunOptions(epochs=1, batch_size=20, learning_rate=1e-3, replicas=replicas)
    design = models.Design(
        images.shape[1:], 50, hidden=(200, 200), activation=nn.tanh, initialization=lecun
    )
    recipe = _member_recipe("iwae", design, {"samples": samples}, options, images=len(images))
    binarized = partial(objectives.dynamically_binarized, objective=recipe.objective)
    workload = Workload("iwae", 20, 1e-3, 50, len(images), CHUNKS, replicas=replicas)
    return _start(replace(recipe, objective=binarized), options, images, workload)


def _member_recipe(
    name: str, design: models.Design, given: family.Settings, options: RunOptions, *, images: int
) -> runs.Recipe:
    """Returns a member's recipe, as in family.py."""
    settings = family.choose_settings(name, given)
    model = family.make_model(name, design, settings, classes=10)
    network = Network(model, likelihoods.BERNOULLI)
    objective = family.make_objective(name, network, settings, images=images)
    collections = family.FAMILY[name].collections
    return runs.Recipe(
        network,
        objective,
        optax.adam(options.learning_rate),
        collections=collections and collections(),
    )


def _start(
    recipe: runs.Recipe,
    options: RunOptions,
    images: np.ndarray,
    workload: Workload,
    state: train.State | None = None,
) -> Training:
    """Returns a training from `state`, or from the initial state of the options' seed."""
    if state is None:
        shape = images.shape[1:]
        state = runs.initial_state(
            options, recipe.network.model, recipe.optimizer, shape, recipe.collections
        )
    labels = np.arange(len(images), dtype=np.int32) % 10
    return Training(recipe, state, jax.device_put(Examples(images, labels)), workload)


def first_losses(training: Training, steps: int) -> list[float]:
    """Returns the mean losses of the first steps of the first epoch."""
    recipe, workload = training.recipe, training.workload
    step = train.make_training_step(recipe.objective, recipe.optimizer, replicas=False)

    def losses(state: train.State, examples: Examples) -> jax.Array:
        order = epoch_order(state.key, 0, workload.images, workload.batch_size)

        def body(state: train.State, index: jax.Array) -> tuple[train.State, jax.Array]:
            state, totals = step(index, state, (examples, order))
            return state, totals["loss"] / totals["weight"]

        return jax.lax.scan(body, state, jnp.arange(steps))[1]

    return jax.jit(losses)(training.state, training.examples).tolist()


def compiled_step(training: Training) -> str:
    """Returns the program that XLA compiles for one step, as text."""
    recipe, workload, state = training.recipe, training.workload, training.state
    step = train.make_training_step(recipe.objective, recipe.optimizer, replicas=False)
    order = epoch_order(state.key, 0, workload.images, workload.batch_size)
    lowered = jax.jit(step).lower(0, state, (training.examples, order))
    return lowered.compile().as_text() or ""


def deviation(losses: Sequence[float], expected: Sequence[float]) -> float:
    """Returns the largest relative difference from the expected losses; NaN if a loss is NaN."""
    return float(np.max(np.abs(np.subtract(losses, expected)) / np.abs(expected)))


def take_steps_of(training: Training, chunk: int) -> Callable[[int], None]:
    """Returns a function that trains for a number of steps through `train.fit`, in chunks."""
    workload = replace(training.workload, steps=CHUNKS * chunk)
    return make_take_steps(training.recipe, training.state, training.examples, workload)
