"""Networks loaded from a run's folder equal the trained ones; loading runs no code of the run."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxae
from jaxae import data, likelihoods, models, objectives, runs, train
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.runs import loading
from jaxae.train import Examples
from support import small_run
from support.commands import run_program
from support.small_run import STEPS_PER_EPOCH, go

compiled_once, small_data = small_run.compiled_once, small_run.small_data


@pytest.fixture(scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[runs.Epoch]]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, go(out=folder)


@pytest.fixture
def run(_run: tuple[Path, list[runs.Epoch]], tmp_path: Path) -> tuple[Path, list[runs.Epoch]]:
    return shutil.copytree(_run[0], tmp_path / "run"), _run[1]


@pytest.mark.slow
def test_a_loaded_network_is_the_one_that_was_trained(
    run: tuple[Path, list[runs.Epoch]],
) -> None:
    folder, epochs = run
    images = data.load("mnist").test.images
    for step, epoch in ((None, epochs[-1]), (2 * STEPS_PER_EPOCH, epochs[1])):
        loaded = jaxae.load(folder, step)
        assert loaded.network.model == epoch.recipe.network.model
        codes = loaded.encode(images)
        np.testing.assert_array_equal(codes, epoch.trained.encode(images))
        np.testing.assert_array_equal(loaded.decode(codes), epoch.trained.decode(codes))
        np.testing.assert_array_equal(loaded.reconstruct(images), epoch.trained.reconstruct(images))
    best = min(epochs, key=lambda epoch: epoch.record["test_loss"])
    np.testing.assert_array_equal(
        jaxae.load(str(folder), "best").encode(images), best.trained.encode(images)
    )


@pytest.mark.slow
def test_one_of_several_replicas_is_loaded(tmp_path: Path) -> None:
    (epoch,) = go(out=tmp_path / "run", epochs=1, replicas=3)
    for replica in range(3):
        params = jaxae.load(tmp_path / "run", replica=replica).variables["params"]
        expected = jax.tree.map(lambda leaf, r=replica: leaf[r], epoch.state.params)
        jax.tree.map(np.testing.assert_array_equal, params, expected)
    with pytest.raises(UserError, match=r"replica 3 .* from 0 to 2"):
        jaxae.load(tmp_path / "run", replica=3)


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 2.0, "last"])
def test_a_step_without_a_checkpoint_is_refused(
    step: Any, run: tuple[Path, list[runs.Epoch]]
) -> None:
    with pytest.raises(UserError, match=f'step {step} was asked for, .* or "best"'):
        jaxae.load(run[0], step=step)


@pytest.mark.slow
def test_a_dark_image_is_scaled_like_the_dataset(run: tuple[Path, list[runs.Epoch]]) -> None:
    """Integer pixels mean steps of 1/255 even if none is above 1, whatever their dtype."""
    dark = np.zeros((2, 28, 28, 1), np.uint8)
    dark[1, 5, 5] = 1
    for network in (jaxae.load(run[0]), run[1][-1].trained):
        for images in (dark, dark.astype(">i8"), dark[1:]):
            expected = network.encode(images.astype(np.float32) / 255)
            np.testing.assert_allclose(network.encode(images), expected, rtol=1e-6)
        with pytest.raises(UserError, match=r"floats from 0 to 9 .*divide them"):
            network.encode(9.0 * dark)


@pytest.mark.slow
def test_a_network_of_standardized_floats_reads_bright_ones(tmp_path: Path) -> None:
    images = data.load("mnist").train.images / np.float32(255)
    standardized = (images - images.mean()) / images.std()

    def change(recipe: runs.Recipe) -> runs.Recipe:
        return replace(recipe, examples=Examples(standardized))

    (epoch,) = go(out=tmp_path / "run", epochs=1, change=change)
    bright = np.full((1, 28, 28, 1), 2.5, np.float32)
    for network in (jaxae.load(tmp_path / "run"), epoch.trained):
        assert np.isfinite(network.encode(bright)).all()
        with pytest.raises(UserError, match="NaN or infinite"):
            network.encode(bright * np.inf)


@pytest.mark.slow
def test_nothing_is_unpickled_and_nothing_started(
    run: tuple[Path, list[runs.Epoch]],
) -> None:
    process = run_program("load_audited", str(run[0]))
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["network"]["model"].update({"class": "os.system"}), "os.system"),
        (lambda config: config["network"]["model"].update(evil=1), "evil"),
        (lambda config: config["network"]["model"].pop("encoder"), "encoder"),
        (lambda config: config["network"].update(likelihood="__builtins__"), "__builtins__"),
        (lambda config: config["network"].update(likelihood=3), "config.json"),
        (lambda config: config.update(network=None), "give the module that was trained"),
        (lambda config: config.pop("network"), "give the module that was trained"),
        (lambda config: config.pop("options"), "options"),
    ],
)
def test_a_description_of_something_else_is_refused(
    change: Callable[[dict[str, Any]], Any], message: str, run: tuple[Path, list[runs.Epoch]]
) -> None:
    path = run[0] / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        jaxae.load(run[0])


@pytest.mark.parametrize("content", [None, "", "[1, 2", "[]"])
def test_a_folder_that_is_no_run_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="is not a run"):
        jaxae.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["fashion", "denoise", "latent2d", "latent3d", "conv", "deep", "vae"]
)
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_published_networks_are_described_and_built_again(name: str, dtype: Any) -> None:
    model = getattr(models, name)((28, 28, 1), dtype=dtype)
    text = json.dumps(models.describe(model))
    assert models.build(json.loads(text)) == model


@pytest.mark.slow
def test_a_network_of_other_parts_is_trained_and_not_described(tmp_path: Path) -> None:
    class Halved(nn.Module):
        inner: nn.Module

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return self.inner(x) / 2

    def change(recipe: runs.Recipe) -> runs.Recipe:
        model = models.Autoencoder(
            Halved(recipe.network.model.encoder), recipe.network.model.decoder
        )
        network = Network(model, recipe.network.likelihood)
        objective: train.Objective = partial(objectives.reconstruction, network=network)
        return replace(recipe, network=network, objective=objective, test_objective=None)

    go(out=tmp_path / "run", epochs=1, change=change)
    with pytest.raises(UserError, match="give the module that was trained"):
        jaxae.load(tmp_path / "run")
    assert loading.describe_network(Network(models.fashion((4, 4, 1)), likelihoods.BERNOULLI))
