"""The parts of gpu.py, each a generator of rows: what was measured, and numbers by their names."""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gpu_trainings as trainings
import jax
import numpy as np
from experiment_files import default_workload
from gpu_profile import profile
from gpu_trainings import RECIPES, Training, take_steps_of
from limits import kernels as count_kernels
from processes import Contender, Place, images_file, measure
from workloads import CHUNKS, Measurement, Workload, seconds_of

from jaxae import data, family, train
from jaxae.batches import Examples, steps_in_epoch

GOLDEN = Path(__file__).with_name("gpu_golden.json")

Row = dict[str, Any]
"""Numbers and words by the names of a table's columns; "what" names the row."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    recipes: tuple[str, ...] = RECIPES
    members: tuple[str, ...] = tuple(family.FAMILY)
    recipe_losses: int = 20
    member_losses: int = 3
    chunk: int = 500  # steps that are timed together
    pairs: int = 5  # chunks of jaxae and of PyTorch, in turns
    images: int = 60_000
    epochs: int = 100  # of Fashion-MNIST
    growing: tuple[str, ...] = ("fashion", "conv")
    replicas: tuple[int, ...] = (1, 8, 64)
    batches: tuple[int, ...] = (512, 1024, 2048, 4096, 8192, 16_384)
    largest: int = 64  # replicas whose memory is measured


TINY = Sizes(
    recipes=("fashion",),
    members=("iwae", "vq"),
    recipe_losses=3,
    member_losses=2,
    chunk=2,
    pairs=2,
    images=2_000,
    epochs=2,
    growing=("fashion",),
    replicas=(1, 2),
    batches=(1024,),
    largest=2,
)


def tiled(count: int, dataset: str = "mnist_mini", split: str = "train") -> np.ndarray:
    """So many bundled images, uint8 [N, 28, 28, 1], again and again where there are fewer."""
    images = getattr(data.load(dataset), split).images
    return np.resize(images, (count, *images.shape[1:]))


# 1. Correctness.

PRECISIONS: dict[str, tuple[str | None, trainings.Precision]] = {
    "float32": ("float32", "float32"),
    "default": (None, "float32"),
    "bf16": (None, "bf16"),
}
"""Columns: the precision of JAX's matrix products, and that of the networks."""


def losses_of(name: str, sizes: Sizes, precision: trainings.Precision) -> list[float]:
    """The first losses of a recipe, or of a member of the family.

    Images are always as many as the golden losses need, whose order follows from that.
    """
    if name in family.FAMILY:
        images = tiled(64 * Sizes.member_losses)
        training = trainings.of_member(name, images, precision=precision)
        return trainings.first_losses(training, sizes.member_losses)
    batch_size = min(128, default_workload(name, CHUNKS).batch_size)
    images = tiled(batch_size * Sizes.recipe_losses)
    training = trainings.of_experiment(name, images, precision=precision, batch_size=batch_size)
    return trainings.first_losses(training, sizes.recipe_losses)


def golden_losses(sizes: Sizes) -> dict[str, list[float]]:
    """The first losses of all, in float32 throughout."""
    with jax.default_matmul_precision("float32"):
        return {
            name: losses_of(name, sizes, "float32") for name in (*sizes.recipes, *sizes.members)
        }


def correctness(sizes: Sizes) -> Iterator[Row]:
    """The largest relative deviation of the first losses from a CPU's, by precision."""
    golden = json.loads(GOLDEN.read_text())
    for column, (products, precision) in PRECISIONS.items():
        for name in (*sizes.recipes, *sizes.members):
            with jax.default_matmul_precision(products):
                losses = losses_of(name, sizes, precision)
            yield {"what": name, column: trainings.deviation(losses, golden[name][: len(losses)])}


# 2. Steps.


def steps(sizes: Sizes) -> Iterator[Row]:
    """Milliseconds a step of each recipe beside the fastest way in PyTorch, in turns."""
    for name in sizes.recipes:
        # All batches of an epoch are full, so that PyTorch compiles for one size.
        batch_size = default_workload(name, CHUNKS).batch_size
        count = min(sizes.images, default_workload(name, CHUNKS).images) // batch_size * batch_size
        training = trainings.of_experiment(name, tiled(count))
        ours = take_steps_of(training, sizes.chunk)
        rivals, failures = pytorch_ways(name, training, sizes)
        if not rivals:
            yield {"what": name, **alone(ours, sizes), "PyTorch": "; ".join(failures)}
            continue
        best = min(rivals, key=lambda way: seconds_of(rivals[way], sizes.chunk))
        first_step(ours, sizes)
        pairs = [
            (seconds_of(ours, sizes.chunk), seconds_of(rivals[best], sizes.chunk))
            for _ in range(sizes.pairs)
        ]
        mine, theirs = (milliseconds(side, sizes) for side in zip(*pairs, strict=True))
        ratios = [their / our for our, their in pairs]
        yield {
            "what": name,
            "jaxae, ms": mine,
            "PyTorch, ms": theirs,
            "PyTorch / jaxae": statistics.median(ratios),
            "least": min(ratios),
            "largest": max(ratios),
            "PyTorch": "; ".join([best, *failures]),
        }


def pytorch_ways(
    name: str, training: Training, sizes: Sizes
) -> tuple[dict[str, Callable[[int], None]], list[str]]:
    """Ways to train a recipe in PyTorch that have begun, and why others have not."""
    try:
        import pytorch_worker
    except ModuleNotFoundError as error:
        return {}, [f"{error.name} is not installed"]
    workload = replace(training.workload, steps=CHUNKS * sizes.chunk)
    images = np.asarray(training.examples.images)
    begun, failures = {}, []
    for way in pytorch_worker.ways_on_gpu():
        try:
            take_steps = pytorch_worker.take_steps_of(name, images, way, workload)
            take_steps(sizes.chunk)
            begun[way.name] = take_steps
        except Exception as error:  # whatever a compiler or a capture raises
            failures.append(f"{way.name}: {str(error).splitlines()[0][:80]}")
    return begun, failures


def first_step(take_steps: Callable[[int], None], sizes: Sizes) -> float:
    """Seconds of the first step, which compiles; a chunk then warms up."""
    seconds = seconds_of(take_steps, 1)
    take_steps(sizes.chunk)
    return seconds


def milliseconds(seconds: Sequence[float], sizes: Sizes) -> float:
    """Of a step, from the seconds of some chunks: their median."""
    return 1000 * statistics.median(seconds) / sizes.chunk


def alone(take_steps: Callable[[int], None], sizes: Sizes) -> Row:
    """Milliseconds a step of jaxae without a peer."""
    first_step(take_steps, sizes)
    return {
        "jaxae, ms": milliseconds(
            [seconds_of(take_steps, sizes.chunk) for _ in range(sizes.pairs)], sizes
        )
    }


# 3. The Fashion-MNIST recipe.


def fashion(sizes: Sizes) -> Iterator[Row]:
    """Seconds of the recipe of Fashion-MNIST, on the bundled images again and again."""
    begun = float(os.environ[BEGUN])
    training = trainings.of_experiment("fashion", tiled(sizes.images, "fashion_mnist_mini"))
    recipe, workload = training.recipe, training.workload
    test = jax.device_put(Examples(tiled(sizes.images // 6, "fashion_mnist_mini", "test")))
    evaluate = train.make_evaluation(recipe.objective, recipe.test_batch_size)
    ready = time.time()
    training_seconds = 0.0
    fit = train.fit(
        training.state,
        training.examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=sizes.epochs,
        batch_size=workload.batch_size,
    )
    row: Row = {"what": f"{sizes.epochs} epochs of {sizes.images:,} images"}
    started = time.perf_counter()
    for progress in fit:
        jax.block_until_ready(progress.state)
        training_seconds += time.perf_counter() - started
        variables = train.variables_of(progress.state)
        measured = evaluate(variables, jax.random.key(0), test)
        losses = {"train loss": progress.metrics["loss"], "test loss": measured["loss"]}
        row |= {name: float(loss) for name, loss in losses.items()}
        started = time.perf_counter()
    yield row | {
        "start, s": ready - begun,
        "training, s": training_seconds,
        "everything, s": time.time() - begun,
    }


# 4. Growth.


def growth(sizes: Sizes) -> Iterator[Row]:
    """Milliseconds a step with replicas at the recipe's own batch, and with larger batches."""
    for name in sizes.growing:
        for replicas in sizes.replicas:
            training = trainings.of_experiment(name, tiled(sizes.images), replicas=replicas)
            taken = alone(take_steps_of(training, sizes.chunk), sizes)["jaxae, ms"]
            yield {"what": name, "1 replica" if replicas == 1 else f"{replicas} replicas": taken}
        for batch_size in sizes.batches:
            images = tiled(max(sizes.images, batch_size))
            training = trainings.of_experiment(name, images, batch_size=batch_size)
            taken = alone(take_steps_of(training, sizes.chunk), sizes)["jaxae, ms"]
            yield {"what": name, f"batch {batch_size:,}": taken}


# 5. Kernels.


def kernels(sizes: Sizes) -> Iterator[Row]:
    """Kernels that a step starts, and how long the device waits between them."""
    for name in sizes.recipes:
        images = tiled(min(sizes.images, default_workload(name, CHUNKS).images))
        training = trainings.of_experiment(name, images)
        take_steps = take_steps_of(training, sizes.chunk)
        first_step(take_steps, sizes)
        with tempfile.TemporaryDirectory() as folder:
            found = profile(partial(take_steps, sizes.chunk), Path(folder))
        if found is None:  # a CPU, or no library that takes the profile
            program = trainings.compiled_step(training)
            yield {"what": name, "kernels of the compiled step": count_kernels(program)}
        else:
            yield {
                "what": name,
                "kernels a step": found.kernels / sizes.chunk,
                "between kernels": f"{100 * found.idle:.0f} %",
            }


# 6. Published numbers.


def published(sizes: Sizes) -> Iterator[Row]:
    """Steps a second of three replicas, and hours of the 3,280 epochs that the papers train."""
    images = tiled(sizes.images)
    replicas, epochs = 3, 3280
    for label, samples in (("VAE", 1), ("IWAE, k = 5", 5)):
        training = trainings.of_published(samples, images, replicas=replicas)
        taken = alone(take_steps_of(training, sizes.chunk), sizes)["jaxae, ms"]
        steps_of_paper = epochs * steps_in_epoch(60_000, training.workload.batch_size)
        yield {
            "what": label,
            "steps/s": 1000 / taken,
            "hours of the papers": steps_of_paper * taken / 3.6e6,
        }


# 7. Memory.


def memory(sizes: Sizes) -> Iterator[Row]:
    """The peak memory of training, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), Path(sys.executable))
        np.save(images_file(place), tiled(1_000))
        for workload in workloads_of(sizes):
            outcome = measure(place, workload, Contender("jaxae", "jaxae_worker.py"), Path(folder))
            row: Row = {"what": workload.label}
            if not isinstance(outcome, Measurement):
                yield row | {"device, MB": outcome.summary}
                continue
            if outcome.device_memory is not None:
                row["device, MB"] = outcome.device_memory / 1e6
            yield row | {"host, MB": outcome.host_memory / 1e6}


def workloads_of(sizes: Sizes) -> list[Workload]:
    """The recipes at their own sizes, one at the largest batch, and one with many replicas."""
    own = [default_workload(name, CHUNKS) for name in sizes.recipes]
    first = replace(own[0], images=max(sizes.images, sizes.batches[-1]))
    return [
        *own,
        replace(first, batch_size=sizes.batches[-1]),
        replace(own[0], replicas=sizes.largest),
    ]


BEGUN = "JAXAE_GPU_PART_BEGUN"
"""The environment variable that says when a part's process was started, in seconds."""


@dataclass(frozen=True)
class Part:
    """Something to measure in a process of its own."""

    title: str
    measure: Callable[[Sizes], Iterator[Row]]
    share: float  # of the time of all
    environment: dict[str, str]


# Correctness does not need the fastest kernels, which XLA takes long to find.
UNTUNED = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}
# Otherwise JAX takes most of the memory, and leaves PyTorch too little.
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

PARTS = {
    "correctness": Part(
        "Largest relative deviation of the first losses from a CPU's", correctness, 0.25, UNTUNED
    ),
    "steps": Part("Milliseconds a step beside PyTorch", steps, 0.27, SHARED),
    "fashion": Part("The Fashion-MNIST recipe", fashion, 0.1, {}),
    "growth": Part("Milliseconds a step with replicas and batches", growth, 0.17, {}),
    "kernels": Part("Kernels a step, and the time between them", kernels, 0.08, {}),
    "published": Part("The published VAE and IWAE, three replicas", published, 0.06, {}),
    "memory": Part("Peak memory", memory, 0.07, {}),
}
