"""Validation images of runs whose images are changed once, and what learns from the others."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxae
from jaxae import data, evaluate, likelihoods, models, objectives, runs
from jaxae.evaluate import classifier, command, extractors
from jaxae.evaluate.pictures import make_charts
from jaxae.evaluate.tables import describe_epoch
from jaxae.files import read_json
from jaxae.network import Network
from jaxae.runs import RunOptions, with_binarization
from report_page import describe_best
from support import small_run
from support.experiments import options_of
from support.small_fit import DIGITS, LABELS, OPTIONS

compiled_once = small_run.compiled_once

LINE = {"train_loss": 3.0, "test_loss": 2.0, "seconds": 1.0}


@pytest.fixture
def mini() -> data.Dataset:
    return data.load("mnist_mini", validation=300)


def test_the_keys_of_images_that_are_changed_once_are_all_different() -> None:
    keys = runs.fixed_keys()
    words = {tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}
    assert len(words) == len(keys) == 5
    np.testing.assert_array_equal(
        jax.random.key_data(jnp.stack(keys[:4])),
        jax.random.key_data(jax.random.split(jax.random.key(2**31 - 1), 4)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dynamic", "static"])
def test_validation_images_are_binarized_once(how: Any, mini: data.Dataset) -> None:
    model = models.vae((28, 28, 1), 2)
    network = Network(model, likelihoods.BERNOULLI)
    negative_elbo = partial(objectives.negative_elbo, network=network)
    recipe = with_binarization(runs.Recipe(network, negative_elbo, optax.sgd(0.1)), mini, how)
    validation = recipe.validation_examples
    assert validation is not None
    assert mini.validation is not None
    key = runs.fixed_keys().validation_data
    expected = objectives.binarize(key, jnp.asarray(mini.validation.images))
    np.testing.assert_array_equal(validation.images, expected)
    np.testing.assert_array_equal(validation.labels, mini.validation.labels)
    assert set(np.unique(validation.images)) == {0, 255}
    whole = with_binarization(recipe, data.load("mnist_mini"), how)
    assert whole.validation_examples is None
    assert whole.test_examples is not None
    assert recipe.test_examples is not None
    np.testing.assert_array_equal(whole.test_examples.images, recipe.test_examples.images)


@pytest.mark.slow
def test_the_denoiser_corrupts_validation_images_once_with_a_key_of_their_own(
    mini: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options_type, recipes = options_of("denoise"), []
    monkeypatch.setattr(runs, "train_epochs", lambda run, recipe: recipes.append(recipe) or ())
    shared = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-3, "dataset": "mnist_mini"}
    for count in (300, 0):
        run = RunOptions(**shared, validation=count, out=tmp_path / str(count))
        sys.modules[options_type.__module__].main(options_type(run=run))
    divided, whole = recipes
    assert whole.validation_examples is None
    assert mini.validation is not None
    images, inputs = divided.validation_examples.images, divided.validation_examples.inputs
    np.testing.assert_array_equal(images, mini.validation.images)
    key = runs.fixed_keys().validation_data
    clean = jnp.asarray(mini.validation.images)
    expected = objectives.add_gaussian_noise(key, clean, noise=0.5)
    np.testing.assert_allclose(inputs, expected, atol=1e-6)
    np.testing.assert_array_equal(divided.test_examples.inputs, whole.test_examples.inputs)
    assert len(divided.examples.images) == 4700


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.from_arrays(DIGITS, LABELS, scale="minmax", name="digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: data.Dataset) -> jaxae.TrainedRun:
    """A run with 20 of its training images held out."""
    folder = tmp_path_factory.mktemp("fit")
    return jaxae.fit(digits, "rae-l2", validation=20, patience=5, out=folder, **OPTIONS)


@pytest.mark.slow
def test_a_fit_holds_out_images_of_arrays(run: jaxae.TrainedRun, digits: data.Dataset) -> None:
    left = len(digits.train.images) - 20
    saved = run.config.dataset
    assert (saved.train_images, saved.validation_images) == (left, 20)
    assert saved.fingerprint == digits.fingerprint
    assert "validation_loss" in run.history
    assert run.config.steps_per_epoch == -(-left // OPTIONS["batch_size"])
    assert "validation loss" in run._repr_html_()
    best = 1 + int(np.argmin(run.history["validation_loss"]))
    assert run.step == best * run.config.steps_per_epoch


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "divided"])
def test_an_evaluation_learns_only_from_the_images_trained_on(
    kind: str,
    run: jaxae.TrainedRun,
    digits: data.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[evaluate.Images] = []
    make = evaluate.make_images
    monkeypatch.setattr(
        command, "make_images", lambda *given: seen.append(make(*given)) or seen[-1]
    )
    loaded = jaxae.load(run.folder)
    dataset = digits if kind == "whole" else data.hold_out_validation(digits, 20)
    figures = loaded.evaluate(samples=2, generated=10, dataset=dataset, out=tmp_path)
    results = read_json(tmp_path / "evaluation.json")
    assert results["training_examples"] == len(digits.train.images) - 20
    assert results["validation_examples"] == 20
    assert results["settings"]["learned"] == results["training_examples"]
    assert (results["step"], results["lowest_loss_on"]) == (run.step, "validation")
    expected = data.hold_out_validation(digits, 20).train
    np.testing.assert_array_equal(seen[0].train.images, expected.images)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "which has the lowest validation loss of the run" in page
    assert "Nothing learned from 20 training images" in page
    assert figures == run.evaluate(samples=2, generated=10, out=tmp_path / "again")
    for prior in ("mixture", None):
        first, second = (each.sample(4, prior=prior, dataset=dataset) for each in (loaded, run))
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_a_streamed_run_is_that_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "digits.npz", images=DIGITS, labels=LABELS)
    options = {**OPTIONS, "scale": "minmax", "validation": 20}
    resident, streamed = (
        jaxae.fit(tmp_path / "digits.npz", stream=stream, out=tmp_path / str(stream), **options)
        for stream in (False, True)
    )
    assert streamed.dataset is not None
    assert isinstance(streamed.dataset.train.images, data.Column)
    for name in ("train_loss", "validation_loss", "validation_mse", "test_loss"):
        np.testing.assert_allclose(streamed.history[name], resident.history[name], rtol=1e-6)
    loaded = jaxae.load(tmp_path / "True")
    for each in (loaded, resident):
        each.draw_latents(priors=("mixture",), images=(0, 1), out=each.folder / "drawn")
    pictures = [folder / "drawn/samples_mixture.png" for folder in (loaded.folder, resident.folder)]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_charts_show_validation_if_it_was_measured() -> None:
    lines = [{"epoch": epoch, **LINE} for epoch in (1, 2)]
    (chart,) = make_charts(lines)
    assert list(chart.curves) == ["training", "test"]
    assert list(runs.loss_curves(lines)) == ["train", "test"]
    validated = [{**line, "validation_loss": 2.5} for line in lines]
    (chart,) = make_charts(validated)
    assert list(chart.curves) == ["training", "test", "validation"]
    curves = runs.loss_curves(validated)
    assert list(curves) == ["train", "test", "validation"]
    np.testing.assert_array_equal(curves["validation"], [[2.5, 2.5]])


@pytest.mark.parametrize(
    ("chosen_on", "expected"),
    [
        (None, "Evaluated after epoch 3."),
        ("validation", "Evaluated after epoch 3, which has the lowest validation loss of the run."),
        ("test", "its test figures are too good."),
    ],
)
def test_a_page_says_which_epoch_it_is_about(chosen_on: str | None, expected: str) -> None:
    assert describe_epoch({"epoch": 3.0, "lowest_loss_on": chosen_on}).endswith(expected)


def test_a_divided_dataset_keeps_its_division(tmp_path: Path, digits: data.Dataset) -> None:
    divided = data.hold_out_validation(digits, 20)
    run = jaxae.fit(divided, "vae", **OPTIONS, out=tmp_path / "run")
    assert runs.read_config(run.folder).values["options"]["run"]["validation"] == 20
    assert np.isfinite(run.history["validation_loss"]).all()


def test_the_results_say_what_chose_the_best_epoch() -> None:
    old = {"best_test_loss": 2.0, "best_epoch": 3}
    by_test = {**old, "best_chosen_on": "test"}
    by_validation = {**old, "best_chosen_on": "validation", "best_validation_loss": 1.5}
    assert "which is chosen on the test images" in describe_best(old)
    assert describe_best(by_test) == describe_best(old)
    assert describe_best(by_validation) == (
        "Best validation loss 1.5 at epoch 3, where the test loss is 2."
    )


@pytest.mark.slow
def test_features_learn_from_the_images_trained_on(tmp_path: Path, mini: data.Dataset) -> None:
    settings = extractors.NetworkSettings(channels=(2,), features=4, epochs=1)
    for dataset in (mini, replace(data.load("mnist_mini"), validation=None)):
        task = classifier.make_task(evaluate.make_images(dataset, "none"), settings)
        assert len(task.examples.images) == len(dataset.train.images)
        extractors.load_or_train(task, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2
