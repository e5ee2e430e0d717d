"""Trains a recipe with Keras's `fit`, as its source does, and prints how long it took.

compare.py starts it. The backend is KERAS_BACKEND, else TensorFlow, else JAX, else PyTorch.
"""

import importlib.util
import os
import time
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from speed_load import others_share, usage_now
from speed_workloads import (
    CHUNKS,
    Measurement,
    Request,
    Times,
    host_memory,
    read_images,
    run_worker,
)


def measure(request: Request) -> Measurement:
    """Fits float images in memory, a chunk of steps an epoch."""
    backend = _choose_backend()
    import keras  # pyright: ignore[reportMissingImports]

    workload = request.workload
    images = read_images(request).astype(np.float32) / 255
    count = workload.chunk * workload.batch_size
    targets = np.take(images, range(count), axis=0, mode="wrap")  # repeated if there are fewer
    inputs = targets
    if workload.recipe == "denoise":  # corrupted once, as the source does
        noise = np.random.default_rng(0).standard_normal(targets.shape, np.float32)
        inputs = np.clip(targets + 0.5 * noise, 0, 1)
    network = _make_network(keras, workload.recipe, workload.latent or 0)
    loss = "mean_squared_error" if workload.recipe == "latent2d" else "binary_crossentropy"
    network.compile(keras.optimizers.Adam(workload.learning_rate), loss)
    times = _fit(keras, network, inputs, targets, request)
    # Keras on PyTorch has no list of devices.
    devices = "cpu" if backend == "torch" else ", ".join(keras.distribution.list_devices())
    return Measurement(
        f"Keras {keras.__version__}, {backend}", devices, times, host_memory(), variant="fit"
    )


def _choose_backend() -> str:
    """Chooses Keras's backend; Keras reads the environment variable when it is imported."""
    installed = filter(importlib.util.find_spec, ("tensorflow", "jax", "torch"))
    return os.environ.setdefault("KERAS_BACKEND", next(installed, "tensorflow"))


def _fit(
    keras: ModuleType, network: Any, inputs: np.ndarray, targets: np.ndarray, request: Request
) -> Times:
    """Fits one batch, then all batches for several epochs, of which the first is a warm-up."""
    batch_size, chunk = request.workload.batch_size, request.workload.chunk
    started = time.perf_counter()
    network.fit(inputs[:batch_size], targets[:batch_size], batch_size, verbose=0)
    compilation, first_step = time.perf_counter() - started, time.time() - request.started
    ends = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    epochs = 1 + CHUNKS
    before = usage_now()
    network.fit(inputs, targets, batch_size, epochs=epochs, verbose=0, callbacks=[note])
    milliseconds = [1000 * (stop - start) / chunk for start, stop in pairwise(ends)]
    return Times(milliseconds, compilation, first_step, others_share(before, usage_now()))


def _make_network(keras: ModuleType, recipe: str, latent: int) -> Any:
    """Returns the source's network of 28x28x1 images, including its last activation."""
    layers = keras.layers
    make = {"fashion": _fashion, "denoise": _denoise, "latent2d": _latent2d}[recipe]
    return keras.Sequential([layers.Input((28, 28, 1)), *make(layers, latent)])


def _fashion(layers: Any, latent: int) -> list:
    """Dense, 784-256-128-latent and back."""
    return [
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dense(128, activation="relu"),
        layers.Dense(latent),
        layers.Dense(128, activation="relu"),
        layers.Dense(256, activation="relu"),
        layers.Dense(784, activation="sigmoid"),
        layers.Reshape((28, 28, 1)),
    ]


def _denoise(layers: Any, latent: int) -> list:
    """Convolutions with pooling, and back by upsampling."""
    del latent
    same = {"padding": "same", "activation": "relu"}
    return [
        *(layers.Conv2D(16, 3, **same), layers.MaxPooling2D(2, padding="same")),
        *(layers.Conv2D(8, 3, **same), layers.MaxPooling2D(2, padding="same")),
        *(layers.Conv2D(8, 3, **same), layers.MaxPooling2D(2, padding="same")),
        *(layers.Conv2D(8, 3, **same), layers.UpSampling2D(2)),
        *(layers.Conv2D(8, 3, **same), layers.UpSampling2D(2)),
        *(layers.Conv2D(16, 3, activation="relu"), layers.UpSampling2D(2)),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]


def _latent2d(layers: Any, latent: int) -> list:
    """Strided convolutions to a code, and transposed ones back; LeakyReLU."""
    return [
        *(layers.Conv2D(32, 3, padding="same"), layers.LeakyReLU()),
        *(layers.Conv2D(64, 3, 2, padding="same"), layers.LeakyReLU()),
        *(layers.Conv2D(64, 3, 2, padding="same"), layers.LeakyReLU()),
        *(layers.Conv2D(64, 3, padding="same"), layers.LeakyReLU()),
        *(layers.Flatten(), layers.Dense(latent)),
        *(layers.Dense(7 * 7 * 64), layers.Reshape((7, 7, 64))),
        *(layers.Conv2DTranspose(64, 3, padding="same"), layers.LeakyReLU()),
        *(layers.Conv2DTranspose(64, 3, 2, padding="same"), layers.LeakyReLU()),
        *(layers.Conv2DTranspose(32, 3, 2, padding="same"), layers.LeakyReLU()),
        layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid"),
    ]


if __name__ == "__main__":
    run_worker(measure)
