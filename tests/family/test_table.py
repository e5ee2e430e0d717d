"""The table of the family: every row has the same properties, so a new row is tested too."""

import dataclasses
import json
import pickle
import runpy
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

from jaxae import data, family, likelihoods, models, priors, train
from jaxae.commands import train as train_command
from jaxae.commands.optimizers import make_optimizer
from jaxae.errors import UserError
from jaxae.family import FAMILY, settings
from jaxae.network import Network, Trained
from jaxae.runs import seeded_state
from jaxae.runs.loading import describe_network
from jaxae.train import Batch, ByExample, Examples, State, take_step
from support.commands import command

CLASSES, COUNT, BATCH = 10, 192, 24
SHAPES = {"dense": (8, 8, 1), "conv": (8, 8, 3), "resnet": (7, 8, 3)}
# The small codes and the few steps here need other values than training on 28x28 pixels.
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
OPTIMIZER = optax.adam(1e-2)
KEY = jax.random.key(0, impl="rbg")


@cache
def examples(kind: str = "dense") -> Examples:
    """Returns digits of 8x8 pixels: gray for dense networks, in color for convolutional ones.

    Residual networks get those of an odd height.
    """
    split = data.load("mnist_mini").train
    assert split.labels is not None
    images = split.images[:COUNT, 2:26:3, 2:26:3].copy()
    if kind != "dense":
        images = np.concatenate([images, 255 - images, images // 2], axis=-1)
        images = images[:, : SHAPES[kind][0]].copy()
    return Examples(images, split.labels[:COUNT].copy())


def batch(count: int = BATCH, kind: str = "dense") -> Batch:
    some = examples(kind)
    assert some.labels is not None
    images, labels = jnp.asarray(some.images[:count]), jnp.asarray(some.labels[:count])
    return Batch(images, labels, None, jnp.ones(count))


def settings_of(name: str) -> dict[str, Any]:
    return family.choose_settings(name, SMALLER.get(name, {}))


@cache
def parts(name: str, kind: Any = "dense", likelihood: str = "bernoulli") -> tuple[nn.Module, Any]:
    """Returns a member's network and objective."""
    likelihood_ = likelihoods.BY_NAME[likelihood]
    widths = {"dense": (12,), "conv": (4,), "resnet": (4, 6)}[kind]
    design = models.Design(
        SHAPES[kind], 4, kind, widths, logits_per_channel=likelihood_.logits_per_channel
    )
    model = family.make_model(name, design, settings_of(name), classes=CLASSES)
    objective = family.make_objective(
        name, Network(model, likelihood_), settings_of(name), images=COUNT
    )
    return model, objective


# Members with the same network share a compilation.
@partial(jax.jit, static_argnames=("model", "shape"))
def make_state(seed: Array | int, collections: Any, *, model: nn.Module, shape: Any) -> State:
    return seeded_state(
        seed, model=model, optimizer=OPTIMIZER, shape=shape, collections=collections
    )


def state_of(name: str, seed: int = 0, kind: Any = "dense", likelihood: str = "bernoulli") -> State:
    collections = FAMILY[name].collections
    model, _ = parts(name, kind, likelihood)
    return make_state(seed, collections and collections(), model=model, shape=SHAPES[kind])


@cache
def gradient_of(
    name: str, kind: str = "dense", likelihood: str = "bernoulli"
) -> Callable[[Any, Batch], Any]:
    """Returns a compiled function for a member's summed loss, its terms, and the sum's gradient."""
    objective = parts(name, kind, likelihood)[1]

    def loss(params: Any, variables: Any, batch: Batch) -> tuple[Array, train.Terms]:
        terms = objective({**variables, "params": params}, KEY, batch)
        return (terms.loss * batch.weights).sum(), terms

    gradient = jax.value_and_grad(loss, has_aux=True)
    return jax.jit(lambda variables, batch: gradient(variables["params"], variables, batch))


def stack(*leaves: Array) -> Array:
    return jnp.stack(leaves)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_terms(name: str) -> None:
    objective, variables = parts(name)[1], train.variables_of(state_of(name))
    terms = objective(variables, KEY, batch())
    assert terms.loss.shape == (BATCH,)
    assert all(metric.shape in ((BATCH,), ()) for metric in terms.metrics.values())
    # The formula in the table computes the loss.
    values = {**settings_of(name), **terms.metrics}
    total = eval(FAMILY[name].formula, {"__builtins__": {}}, values)
    np.testing.assert_allclose(terms.loss, total, rtol=1e-5)
    # A jitted objective computes the same.
    (_, jitted), _ = gradient_of(name)(variables, batch())
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5), terms, jitted)


@pytest.mark.parametrize("name", FAMILY)
def test_gradients_are_finite_and_padding_leaves_no_trace(name: str) -> None:
    variables, some = train.variables_of(state_of(name)), batch()
    weights = (jnp.arange(BATCH) < 15).astype(float)
    results = []
    for garbage in (0, 255):  # black and white, which may break gradients
        images = some.images.at[15:].set(garbage)
        assert some.labels is not None
        labels = some.labels.at[15:].set(garbage % 10)
        padded = Batch(images, labels, None, weights)
        (loss, terms), gradient = gradient_of(name)(variables, padded)
        results.append((loss, terms.collections, gradient))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results[0]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *results)


WITH_NUMBERS = [name for name in FAMILY if family.numbers_of(name, settings_of(name))]


def step_of(name: str, settings: dict[str, Any], rate: float) -> Any:
    """Returns a compiled step of a member with these settings and Adam."""
    network = Network(parts(name)[0], LIKELIHOOD)
    objective = family.make_objective(name, network, settings, images=COUNT)
    optimizer = make_optimizer(rate, 100)
    return jax.jit(partial(take_step, objective=objective, optimizer=optimizer))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_settings_and_learning_rate_can_be_values_of_one_program(name: str) -> None:
    settings, state = settings_of(name), state_of(name)
    others = {key: 0.75 * value for key, value in family.numbers_of(name, settings).items()}
    numbered = train.with_numbers(state, {**others, "learning_rate": 0.02})
    values = step_of(name, settings, 0.01)
    constants = step_of(name, {**settings, **others}, 0.02)
    expected, theirs = constants(state, batch())
    ours, metrics = values(numbered, batch())
    changed = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), expected.params, state.params)
    assert max(jax.tree.leaves(changed)) > 0.01
    close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6))
    close(metrics, theirs)
    # Adam divides a gradient by its size, so a small one may round to another sign.
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-3), ours.params, expected.params)
    texts = [step.lower(numbered, batch()).as_text() for step in (values, constants)]
    assert texts[0] == texts[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_an_epoch_lowers_the_loss_and_replicas_are_separate_runs(name: str) -> None:
    objective = parts(name)[1]
    all_images = batch(COUNT)
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, BATCH, *leaf.shape[1:]), all_images)

    def epoch(state: State) -> State:
        def step(state: State, batch: Batch) -> tuple[State, None]:
            step = partial(take_step, objective=objective, optimizer=OPTIMIZER, guarded=False)
            return step(state, batch)[0], None

        return jax.lax.scan(step, state, batches)[0]

    def loss(params: Any) -> Array:
        # Both losses use the schedule and the codebook from after the training.
        return gradient_of(name)({**train.variables_of(alone), "params": params}, batch())[0][0]

    states = [state_of(name, seed) for seed in (0, 1)]
    replicas = jax.jit(jax.vmap(epoch))(jax.tree.map(stack, *states))
    alone = jax.jit(epoch)(states[1])
    assert 0 < loss(alone.params) < loss(states[1].params)
    second = jax.tree.map(lambda leaf: leaf[1], replicas)
    difference = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), second.params, alone.params)
    assert max(jax.tree.leaves(difference)) < 0.01  # Adam's steps add up to more than 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("name", FAMILY)
def test_samples_decode_to_images(name: str, kind: str) -> None:
    model, _ = parts(name, kind)
    trained = Trained(Network(model, LIKELIHOOD), train.variables_of(state_of(name, kind=kind)))
    some = examples(kind)
    labels = np.asarray(some.labels)
    sampler = priors.of_network(trained, np.asarray(some.images), labels, FAMILY[name].prior)
    codes = sampler(KEY, 7)
    assert codes.shape[1:] == trained.encode(some.images[:1], np.zeros(1, int)).shape[1:]
    images = trained.decode(codes, np.arange(7))
    assert images.shape == (7, *SHAPES[kind])
    assert images.min() >= 0
    assert images.max() <= 1
    described = describe_network(Network(model, LIKELIHOOD))
    assert described is not None
    assert models.build(json.loads(json.dumps(described["model"]))) == model


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", likelihoods.BY_NAME)
@pytest.mark.parametrize("name", ["reconstruction", "iwae", "rae-gp"])
def test_members_take_each_likelihood(name: str, likelihood: str) -> None:
    variables = train.variables_of(state_of(name, likelihood=likelihood))
    assert_trained_by(gradient_of(name, "dense", likelihood)(variables, batch()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conv", "resnet"])
@pytest.mark.parametrize("name", FAMILY)
def test_convolutional_networks_learn_colors(name: str, kind: str) -> None:
    variables, losses = train.variables_of(state_of(name, kind=kind)), []
    for _ in range(2):
        result = gradient_of(name, kind)(variables, batch(kind=kind))
        assert_trained_by(result)
        (loss, terms), gradient = result
        losses.append(loss)
        params = jax.tree.map(lambda a, b: a - 1e-5 * b, variables["params"], gradient)
        variables = {**variables, **terms.collections, "params": params}
    assert losses[0] != losses[1]


# Vectors: standardized ones around three centers, which a code of four numbers tells apart.

CENTERS = np.random.default_rng(5).normal(size=(3, 9))
LABELS = np.arange(96) % 3
VECTORS = CENTERS[LABELS] + 0.3 * np.random.default_rng(6).normal(size=(96, 9))
VECTORS = ((VECTORS - VECTORS.mean(axis=0)) / VECTORS.std(axis=0)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["gaussian_identity", "gaussian_identity_learned"])
@pytest.mark.parametrize("name", [name for name in FAMILY if name != "salt-and-pepper"])
def test_every_dense_member_trains_on_vectors(name: str, likelihood: str) -> None:
    likelihood_ = likelihoods.BY_NAME[likelihood]
    shape = VECTORS.shape[1:]
    design = models.Design(
        shape, 4, hidden=(12,), logits_per_channel=likelihood_.logits_per_channel
    )
    model = family.make_model(name, design, settings_of(name), classes=3)
    network = Network(model, likelihood_)
    objective = family.make_objective(name, network, settings_of(name), images=len(VECTORS))
    collections = FAMILY[name].collections
    state = make_state(0, collections and collections(), model=model, shape=shape)

    @jax.jit
    def epoch(state: State) -> tuple[State, Array]:
        def step(state: State, batch: Batch) -> tuple[State, Array]:
            state, metrics = take_step(
                state, batch, objective=objective, optimizer=OPTIMIZER, guarded=False
            )
            return state, metrics["reconstruction" if "reconstruction" in metrics else "loss"]

        some = Batch(jnp.asarray(VECTORS), jnp.asarray(LABELS, jnp.int32), None, jnp.ones(96))
        batches = jax.tree.map(lambda leaf: leaf.reshape(8, 12, *leaf.shape[1:]), some)
        return jax.lax.scan(step, state, batches)

    losses = []
    for _ in range(4):
        state, per_step = epoch(state)
        losses.append(float(per_step.mean()))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    trained = Trained(network, train.variables_of(state))
    reconstructed = trained.reconstruct(VECTORS, LABELS)
    assert reconstructed.shape == VECTORS.shape
    sampler = priors.of_network(trained, VECTORS, LABELS, FAMILY[name].prior)
    assert trained.decode(sampler(KEY, 5), np.zeros(5, int)).shape == (5, 9)


def test_salt_and_pepper_needs_the_ends_of_a_range() -> None:
    model, _ = parts("salt-and-pepper")
    network = Network(model, likelihoods.GAUSSIAN_IDENTITY)
    with pytest.raises(UserError, match=r"numbers of any range.*choose masking"):
        family.make_objective("salt-and-pepper", network, {"rate": 0.25}, images=COUNT)


def test_noise_is_clipped_only_to_a_range() -> None:
    for likelihood, bounded in (("bernoulli", True), ("gaussian_identity", False)):
        _, objective = parts("denoising", "dense", likelihood)
        made = objective.keywords["make"](settings_of("denoising"))
        noisy = np.asarray(made.keywords["corrupt"](KEY, batch().images))
        assert (0 <= noisy.min() <= noisy.max() <= 1) == bounded


def test_a_conditional_member_needs_labels() -> None:
    with pytest.raises(UserError, match="without labels: choose vae"):
        family.make_model("conditional", models.Design((9,), 2), {}, classes=0)


def assert_trained_by(result: tuple[tuple[Array, train.Terms], Any]) -> None:
    """Checks that losses and gradients are finite, and that no gradient is all zero."""
    (_, terms), gradient = result
    assert terms.loss.shape == (BATCH,)
    assert np.isfinite(terms.loss).all()
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.any(leaf), path


def test_settings_default_to_the_table() -> None:
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
    flags = {field.name for field in dataclasses.fields(train_command.SettingOptions)}
    assert flags == {name for member in FAMILY.values() for name in member.all_settings}


@pytest.mark.parametrize("name", FAMILY)
def test_defaults_are_in_range_and_values_beyond_are_not(name: str) -> None:
    for setting in FAMILY[name].all_settings.values():
        assert setting.allows(setting.default)
        assert not setting.allows(setting.low - 1)
        assert not setting.allows(setting.high + 1)
        assert not setting.allows(float("nan"))
        assert setting.allows(2.5) == (setting.kind is float and setting.low <= 2.5 <= setting.high)


def test_an_option_is_described_for_each_member_that_has_it() -> None:
    rate = {field.name: field for field in dataclasses.fields(train_command.SettingOptions)}["rate"]
    assert rate.metadata["help"] == (
        "fraction of pixels set to 0 (masking 0.25); fraction of pixels set to 0 or 1 "
        "(salt-and-pepper 0.25); target mean activation of each unit (sparse-kl 0.05)"
    )
    assert rate.default is None


def test_a_new_row_brings_its_option_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    member = dataclasses.replace(
        FAMILY["vae"], settings={"warmth": settings.Setting(3, help="number of degrees")}
    )
    monkeypatch.setitem(FAMILY, "warm-vae", member)
    options = {name: (kind, each.metadata) for name, kind, each in family.setting_fields()}
    assert options["warmth"] == (int | None, {"help": "number of degrees (warm-vae 3)"})


def test_members_that_share_a_setting_must_give_it_one_type() -> None:
    whole, real = settings.Setting(3, help="a number"), settings.Setting(3.0, help="a number")
    members = {"one": {"warmth": whole}, "two": {"warmth": real}}
    with pytest.raises(ValueError, match="warmth of two"):
        settings.describe_settings(members)


def test_the_options_can_be_pickled() -> None:
    options = train_command.Options(settings=train_command.SettingOptions(beta=4.0))
    assert pickle.loads(pickle.dumps(options)) == options
    assert train_command.SettingOptions.__doc__ == "An objective's own settings."


def test_the_help_has_a_line_and_a_reference_for_each_member(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = family.describe_members().splitlines()
    assert len(lines) == len(FAMILY)
    for (name, member), line in zip(FAMILY.items(), lines, strict=True):
        assert line.startswith(f"- {name}: ")
        assert member.reference in line
    monkeypatch.setattr(sys, "argv", command("family", "--help")[1:])
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        runpy.run_path(sys.argv[0], run_name="__main__")
    told = "".join(character for character in capsys.readouterr().out if character.isalnum())
    for line in lines:  # without spaces, because the help wraps its lines
        assert "".join(character for character in line if character.isalnum()) in told


def test_the_plain_dense_member_is_by_example() -> None:
    assert isinstance(parts("reconstruction")[1], ByExample)
    assert not isinstance(parts("reconstruction", "conv")[1], ByExample)
    assert not isinstance(parts("top-k")[1], ByExample)
