"""Trains on one of 8 devices and on meshes of 2 and 8, and prints how far the numbers differ.

    python compare_devices.py float64 networks

The arguments are a dtype and either `networks` or `family`. Prints JSON: the largest difference of
each comparison and, for `networks`, the collective operations of a compiled loop.
"""

import json
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxae import devices, family, likelihoods, models, objectives, runs, train
from jaxae.network import Network
from jaxae.train import Examples
from jaxae.train.epochs import make_loop, make_order
from support.normalized import Normalized, objective_of

_SHAPE = (8, 8, 1)
_MEMBERS = ("wae", "beta-tc", "vq")  # their losses or codebooks depend on the whole batch
_COLLECTIVES = ("all-reduce", "all-gather", "all-to-all")
_OPTIMIZER = optax.adam(1e-3)

_DENSE = models.Autoencoder(models.DenseEncoder((16,), 3), models.DenseDecoder((16,), _SHAPE))
_CONV = models.Autoencoder(
    models.ConvEncoder(
        (models.ConvLayer(4, pool=models.PoolLayer(2, 2, "SAME")), models.ConvLayer(2, stride=2))
    ),
    models.ConvDecoder(
        (models.ConvLayer(4, stride=2, transpose=True, upsample=2), models.ConvLayer(1))
    ),
)


def main(dtype: str, what: str) -> None:
    """Prints the comparisons, either of networks or of members of the family."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    if dtype == "float64":  # Flax promotes float32 parameters to float64
        jax.config.update("jax_numpy_dtype_promotion", "standard")
    images = np.random.default_rng(0).random((45, *_SHAPE)).astype(dtype)
    if what == "family":
        result = {name: _compare_member(name, images) for name in _MEMBERS}
    else:
        dense, conv = _seeded(0, _DENSE, images), _seeded(0, _CONV, images)
        several = (_seeded(seed, _DENSE, images) for seed in range(3))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
        result = {
            "dense, batch 7 on 2": _compare_network(_DENSE, dense, images, 7, 2),
            "conv, batch 8 on 2": _compare_network(_CONV, conv, images, 8, 2),
            "3 replicas, batch 8 on 8": _compare_network(_DENSE, stacked, images, 8, 8),
            "normalized, batch 8 on 8": _compare_normalized(images),
            "gathers": _count_collectives(_DENSE, dense, images, 8),
        }
    print(json.dumps(result))


def _seeded(seed: int, model: nn.Module, images: np.ndarray) -> train.State:
    """Returns the initial state for a seed, in the dtype of the images."""
    init_key, run_key = jax.random.split(jax.random.key(seed))
    variables = jax.jit(model.init)(init_key, images[:1])
    cast = jax.tree.map(lambda leaf: leaf.astype(images.dtype), variables)
    return train.init(run_key, cast, _OPTIMIZER)


def _reconstruction(model: nn.Module) -> train.Objective:
    """Returns the Bernoulli reconstruction loss of a model."""
    return partial(objectives.reconstruction, network=Network(model, likelihoods.BERNOULLI))


def _compare_network(
    model: nn.Module, states: train.State, images: np.ndarray, batch_size: int, count: int
) -> float:
    """Returns the largest difference after training with noise, and between evaluations."""
    objective = partial(
        objectives.denoising,
        objective=_reconstruction(model),
        corrupt=partial(objectives.add_gaussian_noise, noise=0.3),
    )
    single, shared = _train_both(objective, states, images, batch_size, count)
    evaluate = partial(
        train.make_evaluation, _reconstruction(model), 10, replicas=states.step.ndim == 1
    )
    arguments = (train.variables_of(single.state), jax.random.key(1), Examples(images))
    evaluated = evaluate(mesh=devices.data_mesh(count))(*arguments)
    return max(
        _largest_difference(_trained(shared), _trained(single)),
        _largest_difference(evaluated, evaluate()(*arguments)),
    )


def _compare_normalized(images: np.ndarray) -> float:
    """Returns the largest difference of a network with batch normalization over all devices."""
    model = Normalized(_SHAPE)
    state = runs.seeded_state(0, model=model, optimizer=_OPTIMIZER, shape=_SHAPE)
    cast = jax.tree.map(lambda leaf: leaf.astype(images.dtype), train.variables_of(state))
    objective = objective_of(Network(model, likelihoods.BERNOULLI))
    state = train.init(state.key, cast, _OPTIMIZER)
    single, shared = _train_both(objective, state, images, 8, 8)
    return _largest_difference(_trained(shared), _trained(single))


def _compare_member(name: str, images: np.ndarray) -> float:
    """Returns the largest difference after training a member with batches of 8 on 2 devices."""
    chosen = {"codebook": 8, "dimension": 2} if name == "vq" else {}
    settings = family.choose_settings(name, chosen)
    design = models.Design(_SHAPE, 4, "dense", (12,))
    model = family.make_model(name, design, settings, classes=10)
    network = Network(model, likelihoods.BERNOULLI)
    objective = family.make_objective(name, network, settings, images=len(images))
    single, shared = _train_both(objective, _seeded(0, model, images), images, 8, 2)
    return _largest_difference(_trained(shared), _trained(single))


def _train_both(
    objective: train.Objective,
    states: train.State,
    images: np.ndarray,
    batch_size: int,
    count: int,
) -> tuple[train.Progress, train.Progress]:
    """Trains two epochs on one device, and the same on a mesh of `count` devices."""
    fit = partial(
        train.fit,
        states,
        Examples(images),
        objective=objective,
        optimizer=_OPTIMIZER,
        epochs=2,
        batch_size=batch_size,
    )
    *_, single = fit()
    *_, shared = fit(mesh=devices.data_mesh(count), chunk_steps=2)
    sharding = shared.state.step.sharding
    assert sharding.is_fully_replicated
    assert len(sharding.device_set) == count
    return single, shared


def _trained(progress: train.Progress) -> tuple[Any, ...]:
    """Returns the results of training that must not depend on the devices."""
    return progress.state.params, progress.totals, progress.state.collections


def _largest_difference(tree: Any, expected: Any) -> float:
    """Returns the largest difference between leaves, relative to 1 + the leaf's maximum."""
    largest = 0.0
    for leaf, other in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert leaf.dtype == other.dtype
        scale = 1 + np.abs(other).max()
        largest = max(largest, float(np.abs(np.asarray(leaf) - other).max() / scale))
    return largest


def _count_collectives(
    model: nn.Module, state: train.State, images: np.ndarray, batch_size: int
) -> dict[str, int]:
    """Counts the collective operations in a loop that is compiled for 8 devices."""
    mesh = devices.data_mesh(8)
    objective = _reconstruction(model)
    step = train.make_training_step(objective, _OPTIMIZER, replicas=False)
    examples = Examples(images)
    totals = train.no_totals(state, examples, batch_size=batch_size, objective=objective)
    same = (state, totals, examples)
    state, totals, examples = devices.place(same, devices.on_each(mesh))
    order = make_order(len(images), batch_size, replicas=False, mesh=mesh, drop_remainder=False)(
        state.key, 0
    )
    assert {shard.data.shape for shard in order.addressable_shards} == {(6, 1)}
    loop: Any = make_loop(step, mesh)  # Any, because its type hides that it is jitted
    text = loop.lower(state, totals, (examples, order), 0, 6).compile().as_text()
    return {name: text.count(f" {name}(") for name in _COLLECTIVES}


if __name__ == "__main__":
    main(*sys.argv[1:])
