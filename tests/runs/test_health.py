"""Warnings of a network in trouble: each at a fault made by hand, once, and never without one."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxae
from jaxae import cli, data, family, likelihoods, models, objectives, runs, train
from jaxae.commands import train as command
from jaxae.family import FAMILY
from jaxae.models import Autoencoder, Design
from jaxae.network import Network
from jaxae.runs import RunOptions, health, restoring
from support import small_fit, small_run
from support.small_run import lines_of, summary_of

pytestmark = pytest.mark.slow

compiled_once = small_run.compiled_once

SHAPE = (28, 28, 1)
STILL = optax.sgd(0.0)  # an optimizer that leaves a network as it was made


def small_mnist(images: int = 600) -> data.Dataset:
    """Returns 600 training and 120 test images, or vectors of them."""
    mini = data.load("mnist_mini")
    assert mini.train.labels is not None
    assert mini.test.labels is not None
    train_split = data.Split(mini.train.images[:images].copy(), mini.train.labels[:images].copy())
    test_split = data.Split(mini.test.images[:120].copy(), mini.test.labels[:120].copy())
    return data.assemble("small", train_split, test_split, mini.class_names)


def relu_pair(latent: int = 6) -> tuple[nn.Module, nn.Module]:
    return models.make_pair(Design(SHAPE, latent, hidden=(16,)), latent, latent_activation=nn.relu)


NETWORKS = {
    "vae": family.make_variational(Design(SHAPE, 6, hidden=(16,)), 0, {}),
    "conditional": family.make_conditional(Design(SHAPE, 6, hidden=(16,)), 10, {}),
    "vq": family.make_vector_quantized(
        Design(SHAPE, 8, hidden=(16,)), 0, {"codebook": 40, "dimension": 4}
    ),
    "fsq": family.make_scalar_quantized(Design(SHAPE, 8, hidden=(16,)), 0, {"levels": (5, 5)}),
    "relu": Autoencoder(*relu_pair()),
    "plain": family.make_plain(Design(SHAPE, 6, hidden=(16,)), 0, {}),
    "top-k": Autoencoder(*relu_pair(), bottleneck=models.TopK(2)),
    "maps": family.make_plain(Design(SHAPE, 6, "conv", (4,)), 0, {}),
}


def scaled(factor: float, part: str, bias: float | None = None) -> Callable[[Any], Any]:
    """Returns a function that multiplies the kernels of the last layer of a part."""

    def change(variables: Any) -> Any:
        layers = variables["params"][part]
        name = max(name for name in layers if name.startswith("Dense"))
        layer = {"kernel": factor * layers[name]["kernel"], "bias": layers[name]["bias"]}
        if bias is not None:
            layer["bias"] = jnp.full_like(layer["bias"], bias)
        params = {**variables["params"], part: {**layers, name: layer}}
        return {**variables, "params": params}

    return change


def far_vectors(variables: Any) -> Any:
    """Moves all vectors of a codebook but three far away."""
    codebook = variables["codebook"]["bottleneck"]
    vectors = codebook["vectors"].at[3:].set(1e3)
    return {**variables, "codebook": {"bottleneck": {**codebook, "vectors": vectors}}}


def louder(variables: Any) -> Any:
    """Makes the output depend on the image, as after training."""
    return scaled(30.0, "decoder")(scaled(3.0, "encoder")(variables))


def faults(
    name: str,
    change: Callable[[Any], Any] = lambda variables: variables,
    examples: train.Examples | None = None,
    likelihood: likelihoods.Likelihood = likelihoods.BERNOULLI,
) -> list[str]:
    """Returns the faults that are found in a new network after a change."""
    network = Network(NETWORKS[name], likelihood)
    variables = change(train.variables_of(state_of(network.model)))
    examples = examples or runs.of_split(small_mnist().test)
    labels = None if network.classes is None else jnp.asarray(examples.labels)
    images, inputs = (jnp.asarray(array) for array in (examples.images, examples.network_inputs))
    look = jax.jit(partial(health._look, network))
    seen = jax.device_get(look(variables, images, inputs, labels))
    return kinds_of(health.fault_of(network, seen))


def kinds_of(fault: health.Fault | None) -> list[str]:
    return [] if fault is None else [fault.kind]


def state_of(model: nn.Module, seed: int = 0) -> train.State:
    return runs.seeded_state(seed, model=model, optimizer=STILL, shape=SHAPE)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("vae", scaled(0.0, "encoder"), "collapsed_posterior"),
        ("conditional", scaled(0.0, "encoder"), "collapsed_posterior"),
        ("vq", far_vectors, "unused_codebook"),
        ("fsq", scaled(0.0, "encoder"), "unused_codebook"),
        ("relu", scaled(1.0, "encoder", bias=-100.0), "dead_code"),
        ("plain", scaled(0.0, "encoder"), "dead_code"),
        ("maps", scaled(0.0, "encoder", bias=0.0), "dead_code"),
        ("plain", scaled(0.0, "decoder"), "constant_output"),
        ("vae", lambda v: scaled(0.0, "decoder")(scaled(3.0, "encoder")(v)), "constant_output"),
        # A conditional decoder that reads the class alone: the output differs between classes.
        ("conditional", lambda v: by_class(scaled(3.0, "encoder")(v)), "constant_output"),
        ("top-k", scaled(0.0, "decoder"), "constant_output"),
    ],
)
def test_each_fault_is_found(name: str, change: Callable[[Any], Any], expected: str) -> None:
    assert faults(name, change) == [expected]


def by_class(variables: Any) -> Any:
    """Makes a conditional decoder read its six numbers of a code no more, and its class loudly."""
    layers = variables["params"]["decoder"]
    kernel = layers["Dense_0"]["kernel"].at[:6].set(0).at[6:].multiply(30)
    first = {**layers["Dense_0"], "kernel": kernel}
    params = {**variables["params"], "decoder": {**layers, "Dense_0": first}}
    return {**variables, "params": params}


@pytest.mark.parametrize("name", ["vae", "conditional", "relu", "plain", "top-k"])
def test_a_network_whose_output_depends_on_the_image_has_none(name: str) -> None:
    assert faults(name, louder) == []


def test_a_codebook_needs_enough_draws_to_be_judged() -> None:
    images = small_mnist().test.images
    assert faults("vq", far_vectors, train.Examples(images)) == ["unused_codebook"]
    few = faults("vq", lambda v: louder(far_vectors(v)), train.Examples(images[:9]))
    assert few == []  # 18 draws of 40 codes


def test_zeros_of_few_images_and_values_that_are_not_finite_are_not_judged() -> None:
    images = small_mnist().test.images
    dead = scaled(1.0, "encoder", bias=-100.0)
    assert "dead_code" not in faults("relu", dead, train.Examples(images[:50]))
    assert faults("vae", scaled(np.nan, "encoder")) == []


def test_images_that_are_all_equal_and_vectors() -> None:
    images = np.repeat(small_mnist().test.images[:1], 100, axis=0)
    assert faults("plain", scaled(0.0, "decoder"), train.Examples(images)) == []
    vectors = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    design = Design((5,), 2, hidden=(8,))
    network = Network(family.make_plain(design, 0, {}), likelihoods.GAUSSIAN_IDENTITY)
    state = runs.seeded_state(0, model=network.model, optimizer=STILL, shape=(5,))
    for change, expected in ((louder, []), (scaled(0.0, "decoder"), ["constant_output"])):
        variables = change(train.variables_of(state))
        seen = health._look(network, variables, jnp.asarray(vectors), jnp.asarray(vectors), None)
        assert kinds_of(health.fault_of(network, seen)) == expected


def test_the_epochs_that_are_checked() -> None:
    checked = [epoch for epoch in range(1, 300) if health._is_checked(epoch, last=epoch == 299)]
    assert checked == [2, 5, 10, 20, 50, 100, 200, 299]


# Runs.


def go(
    folder: Path,
    name: str = "vae",
    change: Callable[[Any], Any] = scaled(0.0, "encoder"),
    *,
    model: nn.Module | None = None,
    settled_after: int = 0,
    **options: Any,
) -> None:
    """Trains a network that does not move from the state that a change makes."""
    network = Network(NETWORKS[name] if model is None else model, likelihoods.BERNOULLI)
    shared = {"epochs": 2, "batch_size": 10, "learning_rate": 1e-3, "out": folder, **options}
    if "resume" in options:
        shared.pop("out")
    with pytest.MonkeyPatch.context() as patch:
        made = restoring.initial_state
        patch.setattr(restoring, "initial_state", partial(changed_state, made, change))
        with runs.start(
            "small", small_run.Options(RunOptions(**shared)), dataset=small_mnist()
        ) as run:
            objective = partial(objectives.reconstruction, network=network)
            recipe = runs.Recipe(network, objective, STILL, settled_after=settled_after)
            list(runs.train_epochs(run, recipe))


def changed_state(make: Any, change: Callable[[Any], Any], *args: Any) -> train.State:
    """Returns the initial state after a change, of the last replica alone if there are several."""
    state = make(*args)

    def of(state: train.State) -> train.State:
        variables = dict(change(train.variables_of(state)))
        return replace(state, params=variables.pop("params"), collections=variables)

    if not state.step.ndim:
        return of(state)
    replicas = [
        jax.tree.map(lambda leaf, index=index: leaf[index], state)
        for index in range(len(state.step))
    ]
    replicas = [
        replace(each, params=louder({"params": each.params})["params"]) for each in replicas
    ]
    replicas[-1] = of(replicas[-1])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *replicas)


SAID = "warning: in {}, the posterior has collapsed: 0 of 6 dimensions of the code depend on the"


def test_a_fault_is_said_once_and_recorded_and_not_said_when_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    go(folder, epochs=5)
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert SAID.format(folder) in said
    assert "--kl-warmup" in said
    assert [line.get("warnings") for line in lines_of(folder)] == [
        None,
        ["collapsed_posterior"],
        *[None] * 3,
    ]
    assert summary_of(folder)["health_warnings"] == ["collapsed_posterior"]
    go(folder, epochs=10, resume=folder)
    assert "collapsed" not in capsys.readouterr().err
    assert len(lines_of(folder)) == 10
    assert sum("warnings" in line for line in lines_of(folder)) == 1
    assert summary_of(folder)["health_warnings"] == ["collapsed_posterior"]
    assert "warnings" not in summary_of(folder)
    assert "warnings" not in jaxae.load(folder).history


def test_the_first_epoch_is_checked_only_if_it_is_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "few", epochs=1, batch_size=100)  # 6 steps
    go(tmp_path / "settling", epochs=2, settled_after=121)
    assert "warning" not in capsys.readouterr().err
    go(tmp_path / "settled", epochs=2, settled_after=120)
    assert capsys.readouterr().err.count("warning") == 1
    go(tmp_path / "one", epochs=1, batch_size=5)  # 120 steps
    assert lines_of(tmp_path / "one")[0]["warnings"] == ["collapsed_posterior"]


def test_a_warning_names_the_replica(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(tmp_path / "run", replicas=3)
    assert "the posterior of replica 2 has collapsed: 0 of 6 dim" in capsys.readouterr().err
    assert summary_of(tmp_path / "run")["health_warnings"] == ["collapsed_posterior"]
    folder = tmp_path / "relu"
    go(folder, "relu", scaled(1.0, "encoder", bias=-100.0), replicas=2)
    assert "the code of replica 1 is partly dead: 6 of 6" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["x", 3, [3], None, {"a": 1}])
def test_damaged_warnings_are_refused(damage: Any, tmp_path: Path) -> None:
    line = {"epoch": 1, "train_loss": 0.5, "seconds": 1.0, "warnings": damage}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(jaxae.errors.UserError, match="line 1 of"):
        runs.read_records(tmp_path)


class Unusual(nn.Module):
    """A network without a code, which can fail when it is checked on 120 images at once."""

    fails: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.fails and len(x) == 120:
            raise ValueError("one\ntwo")
        return nn.Dense(784)(x.reshape(len(x), -1)).reshape(x.shape)


def test_a_network_of_ones_own_is_judged_as_far_as_it_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(variables: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, variables)

    go(tmp_path / "run", change=silent, model=Unusual(fails=False))
    assert "the output hardly depends on the image" in capsys.readouterr().err
    run = jaxae.fit(
        small_fit.SCALED[:96],
        small_fit.squared_error,
        test=small_fit.SCALED[96:],
        out=tmp_path / "own",
        epochs=5,
        batch_size=4,
        learning_rate=1e-2,
        **small_fit.OWN,
    )
    said = capsys.readouterr().err
    assert "warning" not in said
    assert "no check" not in said
    assert "health_warnings" not in summary_of(run.folder)


def test_a_check_that_fails_is_left_out_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "run", change=lambda variables: variables, model=Unusual(fails=True))
    said = capsys.readouterr().err
    assert said == "jaxae: no check of codes and outputs: ValueError: one two\n"
    assert len(lines_of(tmp_path / "run")) == 2


# Healthy networks.


@pytest.mark.parametrize("name", FAMILY)
def test_no_member_warns_after_a_short_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = small_mnist(1000)
    monkeypatch.setattr(data, "load", lambda name, **places: small)
    epochs = 10 if name in ("vq", "fsq") else 5  # 500 steps, before which codes are not judged
    line = f"--objective {name} --dataset small --hidden 64 --batch-size 20 --epochs {epochs}"
    command.main(cli.parse(command.Options, [*line.split(), "--out", str(tmp_path / "run")]))
    assert "warning" not in capsys.readouterr().err
    assert "health_warnings" not in summary_of(tmp_path / "run")
