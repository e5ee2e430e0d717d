"""What seeds give: the state a run starts from, and the keys that are the same for all runs."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxae import devices, train
from jaxae.errors import UserError
from jaxae.network import condition
from jaxae.runs.options import RunOptions


def initial_state(
    options: RunOptions,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, int, int],
    collections: train.Variables | None = None,
) -> train.State:
    """The state before training on images [H, W, C] of a shape.

    Collections are an objective's own, beside those of the model. With replicas the state has a
    leading axis; replica r has seed + r, as a run of its own would have.
    """
    make = partial(
        seeded_state, model=model, optimizer=optimizer, shape=shape, collections=collections
    )
    # At full effort XLA:CPU compiles this for up to 12 seconds, to run it once; the bits are equal.
    effort = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    if options.replicas == 1:
        return jax.jit(make, compiler_options=effort)(options.seed)
    _check_replicas(options.replicas, jax.eval_shape(make, options.seed))
    seeds = jnp.arange(options.seed, options.seed + options.replicas)
    return jax.jit(jax.vmap(make), compiler_options=effort)(seeds)


def _check_replicas(count: int, state: train.State) -> None:
    """UserError for a state, or more replicas of it, than memory holds before and after a step."""
    leaves = jax.tree.leaves((state.params, state.collections, state.optimizer_state))
    size = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    memory = devices.memory()
    if memory is not None and count * size > memory:
        most = memory // size
        remedy = f"at most {most}" if most else "a smaller network, or a smaller --latent"
        raise UserError(
            f"--replicas {count}: their parameters and optimizer take {count * size / 1e9:,.1f} GB "
            f"during a step, and there are {memory / 1e9:,.1f}: give {remedy}"
        )


def seeded_state(
    seed: jax.Array | int,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, int, int],
    collections: train.Variables | None = None,
) -> train.State:
    """The state before training that an integer seed gives, for images [H, W, C] of a shape."""
    init_key, run_key = jax.random.split(jax.random.key(seed))
    labels = condition(model, jnp.zeros(1, jnp.int32))
    variables = model.init(init_key, jnp.zeros((1, *shape)), *labels)
    return train.init(run_key, {**variables, **(collections or {})}, optimizer)


class _FixedKeys(NamedTuple):
    """Typed PRNG keys that do not follow a run's seed, so that runs and replicas compare."""

    evaluation: jax.Array
    train_data: jax.Array  # what is done to the training images once, before training
    test_data: jax.Array  # what is done to the test images once
    pictures: jax.Array


def fixed_keys() -> _FixedKeys:
    """The same keys at each call; no run has their seed."""
    return _FixedKeys(*jax.random.split(jax.random.key(2**31 - 1), 4))
