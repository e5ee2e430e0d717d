"""The table of the family: every row has the same properties; a new member is tested by its row."""

import dataclasses
import json
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from experiment_files import load_experiment
from jax import Array

from jaxae import data, family, likelihoods, models, priors, settings, train
from jaxae.batches import Batch, Examples
from jaxae.errors import UserError
from jaxae.family import FAMILY
from jaxae.models import descriptions
from jaxae.seeds import seeded_state
from jaxae.steps import take_step
from jaxae.train import Objective, State
from jaxae.trained import Trained, describe_network

SHAPE, CLASSES, COUNT, BATCH = (8, 8, 1), 10, 192, 24
# So small a code and so few steps need other values of these than 28x28 pixels do.
SMALLER: dict[str, dict[str, Any]] = {
    "top-k": {"active": 2},
    "vq": {"codebook": 8, "dimension": 2},
    "fsq": {"levels": (4, 3)},
    "capacity": {"gamma": 1.0},
    "wae": {"weight": 5.0},
    "wae-rbf": {"weight": 5.0},
    "info-vae": {"strength": 5.0},
    "sparse-kl": {"weight": 0.1},
}
LIKELIHOOD = likelihoods.BERNOULLI
KEY = jax.random.key(0, impl="rbg")


@cache
def examples() -> Examples:
    """Digits of 8x8 pixels."""
    split = data.load("mnist_mini").train
    return Examples(split.images[:COUNT, 2:26:3, 2:26:3].copy(), split.labels[:COUNT].copy())


def batch(count: int = 5) -> Batch:
    some = examples()
    assert some.labels is not None
    images, labels = jnp.asarray(some.images[:count]), jnp.asarray(some.labels[:count])
    return Batch(images, labels, None, jnp.ones(count))


def settings_of(name: str) -> dict[str, Any]:
    return family.choose_settings(name, SMALLER.get(name, {}))


@cache
def parts(name: str, kind: Any = "dense", likelihood: str = "bernoulli") -> tuple[nn.Module, Any]:
    """A member's network and objective."""
    likelihood_ = likelihoods.BY_NAME[likelihood]
    widths = (12,) if kind == "dense" else (4,)
    design = models.Design(
        SHAPE, 4, kind, widths, logits_per_channel=likelihood_.logits_per_channel
    )
    model = family.make_model(name, design, settings_of(name), classes=CLASSES)
    objective = family.make_objective(name, model, likelihood_, settings_of(name), images=COUNT)
    return model, objective


def state_of(name: str, seed: Any = 0, kind: Any = "dense", likelihood: str = "bernoulli") -> State:
    collections = FAMILY[name].collections
    make = partial(
        seeded_state,
        model=parts(name, kind, likelihood)[0],
        optimizer=optax.adam(1e-2),
        shape=SHAPE,
        collections=collections and collections(),
    )
    return jax.jit(make)(seed)


def mean_loss(objective: Objective, variables: Any, key: Array, batch: Batch) -> Array:
    return objective(variables, key, batch).loss.mean()


@pytest.mark.parametrize("name", FAMILY)
def test_terms(name: str) -> None:
    objective, variables = parts(name)[1], train.variables_of(state_of(name))
    terms = objective(variables, KEY, batch())
    assert terms.loss.shape == (5,)
    assert all(metric.shape in ((5,), ()) for metric in terms.metrics.values())
    # The table's formula is the loss.
    values = {**settings_of(name), **terms.metrics}
    total = eval(FAMILY[name].formula, {"__builtins__": {"abs": abs}}, values)
    np.testing.assert_allclose(terms.loss, total, rtol=1e-5)
    # Jitted is not jitted.
    jitted = jax.jit(objective)(variables, KEY, batch())
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5), terms, jitted)


@pytest.mark.parametrize("name", FAMILY)
def test_gradients_are_finite_and_padding_leaves_no_trace(name: str) -> None:
    objective, state = parts(name)[1], state_of(name)

    @jax.jit
    def gradient(variables: Any, batch: Batch) -> Any:
        def loss(params: Any) -> tuple[Array, Any]:
            terms = objective({**variables, "params": params}, KEY, batch)
            return (terms.loss * batch.weights).sum(), terms.collections

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    variables = train.variables_of(state)
    some = batch(5)
    weights = jnp.array([1.0, 1, 1, 0, 0])
    results = []
    for garbage in (0, 255):  # black and white, where gradients may break
        images = some.images.at[3:].set(garbage)
        labels = some.labels if some.labels is None else some.labels.at[3:].set(garbage % 10)
        results.append(gradient(variables, Batch(images, labels, None, weights)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results[0]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(results[0][0][1] or results[0][1]))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *results)


@pytest.mark.parametrize("name", FAMILY)
def test_an_epoch_lowers_the_loss_and_replicas_are_separate_runs(name: str) -> None:
    objective, optimizer = parts(name)[1], optax.adam(1e-2)
    all_images = batch(COUNT)
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, BATCH, *leaf.shape[1:]), all_images)

    def epoch(state: State) -> tuple[State, Array, Array]:
        def step(state: State, batch: Batch) -> tuple[State, None]:
            step = partial(take_step, objective=objective, optimizer=optimizer, guarded=False)
            return step(state, batch)[0], None

        def loss(params: Any) -> Array:
            # Before and after with the schedule and the codebook as they are after.
            variables = {**train.variables_of(last), "params": params}
            return objective(variables, state.key, all_images).loss.mean()

        last, _ = jax.lax.scan(step, state, batches)
        return last, loss(state.params), loss(last.params)

    states = [state_of(name, seed) for seed in (0, 1)]
    replicas = jax.jit(jax.vmap(epoch))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))
    alone = jax.jit(epoch)(states[1])
    state, before, after = alone
    assert 0 < after < before
    second, *losses = jax.tree.map(lambda leaf: leaf[1], replicas)
    np.testing.assert_allclose(losses, [before, after], rtol=2e-3)
    difference = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), second.params, state.params)
    assert max(jax.tree.leaves(difference)) < 0.01  # Adam's steps add up to more than 0.05


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("name", FAMILY)
def test_samples_decode_to_images(name: str, kind: str) -> None:
    model, _ = parts(name, kind)
    trained = Trained(model, LIKELIHOOD, train.variables_of(state_of(name, kind=kind)))
    some = examples()
    labels = np.asarray(some.labels)
    sampler = priors.of_network(trained, np.asarray(some.images), labels, FAMILY[name].prior)
    codes = sampler(KEY, 7)
    assert codes.shape[1:] == trained.encode(some.images[:1], np.zeros(1, int)).shape[1:]
    images = trained.decode(codes, np.arange(7))
    assert images.shape == (7, *SHAPE)
    assert images.min() >= 0
    assert images.max() <= 1
    described = describe_network(model, LIKELIHOOD)
    assert described is not None
    assert descriptions.build(json.loads(json.dumps(described["model"]))) == model


@pytest.mark.parametrize("likelihood", likelihoods.BY_NAME)
@pytest.mark.parametrize("name", ["reconstruction", "vae", "iwae", "rae-gp", "fsq"])
def test_members_take_each_likelihood(name: str, likelihood: str) -> None:
    objective = parts(name, "dense", likelihood)[1]
    variables = train.variables_of(state_of(name, likelihood=likelihood))
    assert np.isfinite(jax.jit(objective)(variables, KEY, batch()).loss).all()


def test_settings_are_those_of_the_table_unless_given() -> None:
    assert family.choose_settings("beta-tc", {}) == {"beta": 6.0}
    assert family.choose_settings("vq", {"decay": 0.9})["decay"] == 0.9
    with pytest.raises(
        UserError, match=r"--noise 0\.1: beta-tc has no such setting; it has --beta"
    ):
        family.choose_settings("beta-tc", {"noise": 0.1})
    with pytest.raises(UserError, match="it has none at all"):
        family.choose_settings("vae", {"beta": 2.0})
    for name, setting, value in (
        ("vq", "codebook", 1),
        ("masking", "rate", 1.5),
        ("fsq", "levels", (8, 1)),
        ("beta-vae", "beta", -1.0),
        ("beta-vae", "beta", float("nan")),
        ("beta-vae", "beta", float("inf")),
        ("iwae", "samples", 2.5),
    ):
        with pytest.raises(UserError, match=f"--{setting}"):
            family.choose_settings(name, {setting: value})
    with pytest.raises(UserError, match="choose one of reconstruction"):
        family.choose_settings("gan", {})


def test_every_setting_is_a_flag_and_none_is_left_over() -> None:
    flags = {field.name for field in dataclasses.fields(load_experiment("family").Settings)}
    known = {
        name for member in FAMILY.values() for name in (*member.settings, *member.model_settings)
    }
    assert flags == known
    assert set(settings.RANGES) <= known


def test_the_help_has_a_line_and_a_reference_of_each_member() -> None:
    lines = family.describe_members().splitlines()
    assert len(lines) == len(FAMILY)
    assert all(
        member.reference in line for member, line in zip(FAMILY.values(), lines, strict=True)
    )
