"""The other parts of gpu.py, each a generator of rows, and the table of all parts."""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

import gpu_trainings as trainings
from experiment_files import default_workload
from gpu_correctness import correctness
from gpu_profile import profile
from gpu_rows import Row, attempt, describe
from gpu_sizes import Sizes, image_count, tiled
from gpu_trainings import Training, take_steps_of
from jaxae import train
from jaxae.train import Examples, steps_in_epoch
from speed_limits import kernels as count_kernels
from speed_workloads import CHUNKS, Workload, seconds_of

BEGUN = "JAXAE_GPU_PART_BEGUN"
"""The environment variable with the time, in seconds, at which a part's process was started."""

_TakeSteps = Callable[[int], None]
"""Trains for a number of steps, and returns when they are done."""


# 2. Steps.


def steps(sizes: Sizes) -> Iterator[Row]:
    """Yields the milliseconds per step of each recipe in jaxae and in PyTorch's fastest variant."""
    for name in sizes.recipes:
        yield attempt(name, partial(compare, name, sizes))


def compare(name: str, sizes: Sizes) -> Row:
    """Returns the row of a recipe: chunks of jaxae and of PyTorch's fastest variant alternate."""
    training = trainings.of_experiment(name, tiled(image_count(name, sizes)))
    ours = take_steps_of(training, sizes.chunk)
    rivals, failures = _pytorch_ways(name, training, sizes)
    if not rivals:
        return {"jaxae, ms": _milliseconds_alone(ours, sizes.chunk, sizes), "PyTorch": failures[0]}
    best = min(rivals, key=lambda way: seconds_of(rivals[way], sizes.chunk))
    _warm_up(ours, sizes.chunk)
    pairs = [
        (seconds_of(ours, sizes.chunk), seconds_of(rivals[best], sizes.chunk))
        for _ in range(sizes.pairs)
    ]
    mine, theirs = (_milliseconds(side, sizes.chunk) for side in zip(*pairs, strict=True))
    ratios = [their / our for our, their in pairs]
    return {
        "jaxae, ms": mine,
        "PyTorch, ms": theirs,
        "PyTorch / jaxae": statistics.median(ratios),
        "least": min(ratios),
        "largest": max(ratios),
        "PyTorch": "; ".join([best, *failures]),
    }


def _pytorch_ways(
    name: str, training: Training, sizes: Sizes
) -> tuple[dict[str, _TakeSteps], list[str]]:
    """Returns the PyTorch variants that train a recipe here, and why the others failed."""
    try:
        import pytorch_worker
    except (ImportError, OSError) as error:  # OSError: a library of CUDA is missing
        return {}, [describe(error)]
    workload = replace(training.workload, steps=CHUNKS * sizes.chunk)
    images = np.asarray(training.examples.images)
    begun, failures = {}, []
    for way in pytorch_worker.ways_on_gpu(name):
        try:
            take_steps = pytorch_worker.take_steps_of(name, images, way, workload)
            take_steps(sizes.chunk)
            begun[way.name] = take_steps
        except Exception as error:  # compilers and captures raise many kinds
            failures.append(f"{way.name}: {describe(error)}")
    return begun, failures


def _warm_up(take_steps: _TakeSteps, chunk: int) -> None:
    """Takes the first step, which compiles, and a chunk."""
    take_steps(1)
    take_steps(chunk)


def _milliseconds(seconds: Sequence[float], chunk: int) -> float:
    """Returns the median milliseconds per step over the timed chunks."""
    return 1000 * statistics.median(seconds) / chunk


def _milliseconds_alone(take_steps: _TakeSteps, chunk: int, sizes: Sizes) -> float:
    """Returns the milliseconds per step of jaxae without a peer."""
    _warm_up(take_steps, chunk)
    return _milliseconds([seconds_of(take_steps, chunk) for _ in range(sizes.pairs)], chunk)


# 3. The Fashion-MNIST recipe.


def _fashion(sizes: Sizes) -> Iterator[Row]:
    """Yields the seconds of the Fashion-MNIST recipe on the bundled images, repeated."""
    yield attempt(f"{sizes.epochs} epochs of {sizes.images:,} images", partial(_run_fashion, sizes))


def _run_fashion(sizes: Sizes) -> Row:
    """Trains with an evaluation after each epoch, as the experiment does, and times it."""
    begun = float(os.environ[BEGUN])
    training = trainings.of_experiment("fashion", tiled(sizes.images, "fashion_mnist_mini"))
    recipe = training.recipe
    test = jax.device_put(Examples(tiled(sizes.images // 6, "fashion_mnist_mini", "test")))
    evaluate = train.make_evaluation(recipe.objective, recipe.test_batch_size)
    ready = time.time()
    fit = train.fit(
        training.state,
        training.examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=sizes.epochs,
        batch_size=training.workload.batch_size,
    )
    row: Row = {}
    training_seconds, started = 0.0, time.perf_counter()
    for progress in fit:
        jax.block_until_ready(progress.state)
        training_seconds += time.perf_counter() - started
        variables = train.variables_of(progress.state)
        measured = evaluate(variables, jax.random.key(0), test)
        losses = {"train loss": progress.metrics["loss"], "test loss": measured["loss"]}
        row |= {name: float(loss) for name, loss in losses.items()}
        started = time.perf_counter()
    return row | {
        "start, s": ready - begun,
        "training, s": training_seconds,
        "everything, s": time.time() - begun,
    }


# 4. Growth.


def _growth(sizes: Sizes) -> Iterator[Row]:
    """Yields milliseconds per step with replicas at the recipe's batch, and with larger batches."""
    for name in sizes.growing:
        for replicas in sizes.replicas:
            column = "1 replica" if replicas == 1 else f"{replicas} replicas"
            yield attempt(name, partial(_grow, name, column, sizes, replicas=replicas))
    for name in sizes.growing:
        for batch_size in sizes.batches:
            column = f"batch {batch_size:,}"
            yield attempt(name, partial(_grow, name, column, sizes, batch_size=batch_size))


def _grow(
    name: str, column: str, sizes: Sizes, *, batch_size: int | None = None, replicas: int = 1
) -> Row:
    """Returns the milliseconds per step of a recipe with one size changed."""
    images = tiled(max(image_count(name, sizes), batch_size or 0))
    training = trainings.of_experiment(name, images, batch_size=batch_size, replicas=replicas)
    work = training.workload.batch_size * training.workload.replicas
    own = default_workload(name, CHUNKS).batch_size
    chunk = max(2, sizes.chunk * own // work)
    return {column: _milliseconds_alone(take_steps_of(training, chunk), chunk, sizes)}


# 5. Kernels.


def _kernels(sizes: Sizes) -> Iterator[Row]:
    """Yields the kernels that a step starts, and how long the device waits between them."""
    for name in sizes.recipes:
        yield attempt(name, partial(_kernels_of, name, sizes))


def _kernels_of(name: str, sizes: Sizes) -> Row:
    """Returns the row of a recipe, from a profile if it shows a device."""
    training = trainings.of_experiment(name, tiled(image_count(name, sizes)))
    take_steps = take_steps_of(training, sizes.chunk)
    _warm_up(take_steps, sizes.chunk)
    with tempfile.TemporaryDirectory() as folder:
        found = profile(partial(take_steps, sizes.chunk), Path(folder))
    if found is None:  # a CPU, or the profiler's library is missing
        return {"kernels of the compiled step": count_kernels(trainings.compiled_step(training))}
    idle = f"{100 * found.idle:.0f} %"
    return {"kernels a step": found.kernels / sizes.chunk, "between kernels": idle}


# 6. Published numbers.


def _published(sizes: Sizes) -> Iterator[Row]:
    """Yields the steps per second of three replicas, and the hours of the papers' 3,280 epochs."""
    for label, samples in (("VAE", 1), ("IWAE, k = 5", 5)):
        yield attempt(label, partial(_publish, samples, sizes))


def _publish(samples: int, sizes: Sizes, replicas: int = 3, epochs: int = 3280) -> Row:
    """Returns the row of the bound with this number of samples."""
    training = trainings.of_published(samples, tiled(sizes.images), replicas=replicas)
    taken = _milliseconds_alone(take_steps_of(training, sizes.chunk), sizes.chunk, sizes)
    paper_steps = epochs * steps_in_epoch(60_000, training.workload.batch_size)
    return {"steps/s": 1000 / taken, "hours of the papers": paper_steps * taken / 3.6e6}


# 7. Memory.


def _memory(sizes: Sizes) -> Iterator[Row]:
    """Yields the peak memory of trainings, each in a process of its own."""
    workloads = workloads_of(sizes)
    with ThreadPoolExecutor(4) as pool:  # a process's peak does not depend on other processes
        jobs = [(workload.label, pool.submit(_peak, workload)) for workload in workloads]
        for label, job in jobs:
            yield attempt(label, job.result)


def _peak(workload: Workload) -> Row:
    """Returns the peak memory of one workload's process."""
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("gpu_peak_worker.py")),
            json.dumps(dataclasses.asdict(workload)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def workloads_of(sizes: Sizes) -> list[Workload]:
    """Returns the recipes at their own sizes, one at the largest batch, one with many replicas."""
    own = [
        replace(default_workload(name, CHUNKS), images=image_count(name, sizes))
        for name in sizes.recipes
    ]
    largest = sizes.batches[-1]
    return [
        *own,
        replace(own[0], batch_size=largest, images=max(own[0].images, largest)),
        replace(own[0], replicas=sizes.memory_replicas),
    ]


@dataclass(frozen=True)
class Part:
    """Something to measure in a process of its own."""

    title: str
    measure: Callable[[Sizes], Iterator[Row]]
    share: float  # of the total time
    environment: dict[str, str]
    shares_programs: bool = True  # uses the compilation cache of the other parts


# Correctness does not need the fastest kernels, and XLA takes long to find them.
_UNTUNED = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}
# By default JAX allocates most of the memory, and leaves PyTorch and other processes too little.
_SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

PARTS = {
    "correctness": Part(
        "Largest relative deviation of the first losses from a CPU's",
        correctness,
        0.22,
        _UNTUNED,
        shares_programs=False,
    ),
    "steps": Part("Milliseconds per step, compared with PyTorch", steps, 0.28, _SHARED),
    "fashion": Part("The Fashion-MNIST recipe", _fashion, 0.08, {}, shares_programs=False),
    "growth": Part("Milliseconds per step with replicas and batches", _growth, 0.16, {}),
    "kernels": Part("Kernels per step, and the time between them", _kernels, 0.08, {}),
    "published": Part("The published VAE and IWAE, three replicas", _published, 0.06, {}),
    "memory": Part("Peak memory", _memory, 0.12, _SHARED),
}
