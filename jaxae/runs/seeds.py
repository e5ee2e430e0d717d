"""Initial states from a run's seed, and keys that are the same for all runs."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxae import devices, train
from jaxae.errors import UserError
from jaxae.network import init_variables
from jaxae.runs.options import RunOptions


def initial_state(
    options: RunOptions,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, ...],
    collections: train.Variables | None = None,
) -> train.State:
    """Returns the state before training on images of shape [H, W, C], or on vectors [D].

    The collections of an objective are added to those of the model. With replicas the state has a
    leading axis, and replica r has the state of a run with seed + r.
    """
    make = partial(
        seeded_state, model=model, optimizer=optimizer, shape=shape, collections=collections
    )
    # XLA:CPU at full effort would compile for up to 12 seconds; the result has the same bits.
    effort = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    if options.replicas == 1:
        return jax.jit(make, compiler_options=effort)(options.seed)
    _check_replicas(options.replicas, jax.eval_shape(make, options.seed))
    seeds = jnp.arange(options.seed, options.seed + options.replicas)
    return jax.jit(jax.vmap(make), compiler_options=effort)(seeds)


def _check_replicas(count: int, state: train.State) -> None:
    """Raises `UserError` if memory cannot hold all replicas' states before and after a step."""
    leaves = jax.tree.leaves((state.params, state.collections, state.optimizer_state))
    size = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    memory = devices.memory()
    if memory is not None and count * size > memory:
        most = memory // size
        remedy = f"at most {most}" if most else "a smaller network, or a smaller --latent"
        raise UserError(
            f"--replicas {count}: their parameters and optimizer take {count * size / 1e9:,.1f} GB "
            f"during a step, and memory has {memory / 1e9:,.1f} GB: give {remedy}"
        )


def seeded_state(
    seed: jax.Array | int,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, ...],
    collections: train.Variables | None = None,
) -> train.State:
    """Returns the state before training from an integer seed, for images [H, W, C] or vectors [D].

    Linen derives the random streams of a module that its key is not given for, such as dropout's,
    from that of the parameters.
    """
    init_key, run_key = jax.random.split(jax.random.key(seed))
    variables = init_variables(model, init_key, shape)
    return train.init(run_key, {**variables, **(collections or {})}, optimizer)


class _FixedKeys(NamedTuple):
    """Typed PRNG keys that do not depend on a run's seed, so that runs are comparable."""

    evaluation: jax.Array
    train_data: jax.Array  # for changing the training images once, before training
    test_data: jax.Array  # for changing the test images once
    pictures: jax.Array
    validation_data: jax.Array  # for changing the validation images once


def fixed_keys() -> _FixedKeys:
    """Returns the same keys at each call, from a seed that no run can have."""
    key = jax.random.key(2**31 - 1)
    # The fifth is not split off, because that may change the four that runs were tested with.
    evaluation, train_data, test_data, pictures = jax.random.split(key, 4)
    validation_data = jax.random.fold_in(key, 4)
    return _FixedKeys(evaluation, train_data, test_data, pictures, validation_data)
