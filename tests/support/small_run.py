"""Runs of a small network on a hundred images, as an experiment makes them."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxae import data, likelihoods, models, objectives, runs, train
from jaxae.network import Network
from jaxae.runs import RunOptions

STEPS_PER_EPOCH = 7  # 100 images in batches of 16; the last batch has 4
TIMES = ("seconds", "images_per_second")


@dataclass(frozen=True)
class Options:
    """An experiment's options."""

    run: RunOptions


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps compiled programs, because all runs here share them."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.getbasetemp() / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for values in (settings, before):
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # else JAX keeps its first settings
        if values is settings:
            yield


@contextlib.contextmanager
def small_images() -> Iterator[None]:
    """Makes every dataset name load the same 100 training and 30 test images."""
    mini = data.load("mnist_mini")
    assert mini.train.labels is not None
    assert mini.test.labels is not None
    train_split = data.Split(mini.train.images[:100].copy(), mini.train.labels[:100].copy())
    test_split = data.Split(mini.test.images[:30].copy(), mini.test.labels[:30].copy())

    def load(name: str, **places: Any) -> data.Dataset:
        return data.assemble(name, train_split, test_split, mini.class_names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", load)
        yield


@pytest.fixture(scope="module", autouse=True)
def small_data() -> Iterator[None]:
    """Gives these images to every test of a module."""
    with small_images():
        yield


def _make_recipe(shape: models.Shape) -> runs.Recipe:
    """Returns a small network and a noisy objective, trained in chunks of three steps."""
    model = models.Autoencoder(models.DenseEncoder((8,), 3), models.DenseDecoder((8,), shape))
    network = Network(model, likelihoods.BERNOULLI)
    reconstruction = partial(objectives.reconstruction, network=network)
    return runs.Recipe(
        network,
        partial(
            objectives.denoising,
            objective=reconstruction,
            corrupt=partial(objectives.add_gaussian_noise, noise=0.3),
        ),
        optax.adam(1e-2),
        test_objective=reconstruction,
        chunk_steps=3,
    )


def go(
    *,
    on_chunk: Callable[[train.Progress], None] | None = None,
    on_epoch: Callable[[runs.Epoch], None] = lambda epoch: None,
    keep_all: bool = False,
    stop_after: int | None = None,
    change: Callable[[runs.Recipe], runs.Recipe] = lambda recipe: recipe,
    **options: Any,
) -> list[runs.Epoch]:
    """Trains a run, three epochs by default, and returns its epochs.

    Leaves the loop over epochs after the epoch `stop_after`.
    """
    shared = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2, "dataset": "mnist", **options}
    epochs = []
    with runs.start(
        "small", Options(RunOptions(**shared)), dataset="mnist", keep_all=keep_all
    ) as run:
        for epoch in runs.train_epochs(run, change(_make_recipe(run.shape)), on_chunk=on_chunk):
            epochs.append(epoch)
            on_epoch(epoch)
            if epoch.number == stop_after:
                break
    return epochs


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Returns the records of metrics.jsonl without times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in line if name not in TIMES} for line in lines]


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())
