"""Small networks whose features judge images: how they are trained, applied and cached."""

import contextlib
import hashlib
import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from filelock import FileLock
from flax import traverse_util
from jax import Array

from jaxae import files
from jaxae.cli import is_writable
from jaxae.data import Dataset, Split
from jaxae.errors import UserError
from jaxae.evaluate.images import Range, spread
from jaxae.files import whole
from jaxae.models import ConvEncoder, ConvLayer, Shape, lecun
from jaxae.network import apply
from jaxae.runs import seeded_state
from jaxae.train import (
    Examples,
    Objective,
    Variables,
    as_array,
    canonicalize_array,
    fit,
    make_evaluation,
    pixels,
    steps_in_epoch,
    variables_of,
)

_BATCH_SIZE = 250  # images whose features are computed at a time; of more, they leave the cache
_MOST_BYTES = 2**29  # of images to train on
_REDUCED = 16  # pixels a side after the first convolution


@dataclass(frozen=True)
class NetworkSettings:
    """A network and its training; with the dataset, its key in the cache."""

    version: int = 1  # of the network and its training: raise it when either changes
    channels: tuple[int, ...] = (32, 64)  # of convolutions
    features: int = 64  # width of the layer before the outputs
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 2e-3  # of Adam at the start; falls to 0 along a cosine
    seed: int = 0


class FeatureNetwork(nn.Module):
    """An encoder that gives features, and a head that turns them into the outputs of a task."""

    encoder: nn.Module
    head: nn.Module

    def features(self, x: Array) -> Array:
        """Returns the layer before the head: float images [B, H, W, C] -> [B, D]."""
        return self.encoder(x)

    def outputs(self, features: Array) -> Array:
        """Returns the outputs of the task from features [B, D]."""
        return self.head(features)

    def __call__(self, x: Array) -> Array:
        return self.outputs(self.features(x))


@dataclass(frozen=True, eq=False)
class Task:
    """What a network is trained on before its features judge images."""

    kind: str  # one word for the network, which is also in the names of files in the cache
    dataset: Dataset
    model: FeatureNetwork
    objective: Objective  # with a metric "accuracy", in [0, 1]
    settings: NetworkSettings
    examples: Examples  # to train on
    test_examples: Examples

    @property
    def shape(self) -> Shape:
        """(H, W, C) of the images that the network reads."""
        return self.dataset.test.images.shape[1:]


@dataclass(frozen=True, eq=False)
class TrainedExtractor:
    """A trained network, with its accuracy, and a digest that identifies it."""

    task: Task
    variables: Variables  # what `model.apply` takes
    accuracy: float  # in the task, on its test examples, in [0, 1]
    digest: str  # SHA-256 of the parameters

    @property
    def kind(self) -> str:
        """The task's word."""
        return self.task.kind

    def features(self, images: np.ndarray) -> np.ndarray:
        """Returns the layer before the head: images [N, H, W, C] -> float32 [N, D], nonnegative.

        Images are uint8, or floats in [0, 1]. Raises `UserError` for other shapes, and for floats
        that are not finite.
        """
        images, shape = np.asarray(as_array("images", images)), self.task.shape
        if images.shape[1:] != shape or len(images) == 0:
            raise UserError(
                f"images of shape {images.shape} were given to a {self.kind} of "
                f"{self.task.dataset.name}: it reads [N, {', '.join(map(str, shape))}], N 1 or more"
            )
        images = canonicalize_array("images", images)
        if images.dtype != np.uint8 and not np.isfinite(images).all():
            raise UserError("images with NaN or infinite pixels were given: fix or drop them")
        count = len(images)
        size = min(count, _BATCH_SIZE)
        outputs = []
        for start in range(0, count, size):
            # The last batch overlaps the one before, so that one compiled program serves all.
            batch = images[min(start, count - size) :][:size]
            output = _features(self.variables, batch, model=self.task.model)
            outputs.append(np.asarray(output)[start - count :])
        return np.concatenate(outputs)

    def describe(self) -> dict[str, Any]:
        """Returns what evaluation.json says of the network."""
        settings = asdict(self.task.settings)
        return {"accuracy": self.accuracy, "digest": self.digest, "settings": settings}


def make_encoder(settings: NetworkSettings, shape: Shape) -> ConvEncoder:
    """Returns an encoder of images: convolutions that halve the sides, and a dense layer.

    The first convolution reduces large images to 16 pixels a side, which bounds the time.
    """
    strides = [max(2, round(max(shape[:2]) / _REDUCED)), *[2] * len(settings.channels)]
    layers = tuple(
        ConvLayer(channels, kernel_size=max(3, stride), stride=stride)
        for channels, stride in zip(settings.channels, strides, strict=False)
    )
    return ConvEncoder(layers, settings.features, latent_activation=nn.relu, initialization=lecun)


def examples_of(split: Split, numbers: Range) -> Examples:
    """Returns a split's examples in [0, 1], evenly spaced ones if all are too large for memory."""
    size = split.images.dtype.itemsize * math.prod(split.images.shape[1:])
    few = spread(split, max(1, _MOST_BYTES // size))
    return Examples(numbers.to_unit(few.images[:]), few.labels)


def load_or_train(task: Task, folder: Path | None = None) -> TrainedExtractor:
    """Returns a task's network from the cache, or trains and caches it.

    A cached network whose digest does not match is trained again. While one process trains, others
    wait for it. If the folder cannot be written, each call without a cached network trains one.

    Args:
      task: the network and its training.
      folder: the cache; None for the user's cache folder.
    """
    folder = files.cache_folder() / "features" if folder is None else folder
    held_out = task.dataset.validation_images or ""  # it learns from the other training images
    key = f"{task.dataset.fingerprint}{held_out}{task.settings}"
    key = hashlib.sha256(key.encode()).hexdigest()[:16]
    file = folder / f"{task.dataset.name.replace('/', '.')}-{task.kind}-{key}.npz"
    if not is_writable(folder):
        return _read(file, task) or train(task)
    with FileLock(file.with_suffix(".lock")):
        cached = _read(file, task)
        if cached is not None:
            return cached
        extractor = train(task)
        _write(file, extractor)
    return extractor


def train(task: Task) -> TrainedExtractor:
    """Trains on a task's examples, and measures the accuracy on its test examples.

    The same task on the same machine gives the same parameters.
    """
    settings, size = task.settings, len(task.examples.images)
    batch_size = min(settings.batch_size, size)
    steps = settings.epochs * steps_in_epoch(size, batch_size)
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, steps))
    make = partial(seeded_state, model=task.model, optimizer=optimizer, shape=task.shape)
    effort = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    state = jax.jit(make, compiler_options=effort)(settings.seed)  # as in `runs.initial_state`
    for progress in fit(
        state,
        task.examples,
        objective=task.objective,
        optimizer=optimizer,
        epochs=settings.epochs,
        batch_size=batch_size,
    ):
        state = progress.state
    evaluate = make_evaluation(task.objective, min(batch_size, len(task.test_examples.images)))
    measured = evaluate(variables_of(state), state.key, task.test_examples)
    variables = jax.device_get(variables_of(state))
    return TrainedExtractor(task, variables, float(measured["accuracy"]), _digest(variables))


@partial(jax.jit, static_argnames="model")
def _features(variables: Variables, images: Array, *, model: FeatureNetwork) -> Array:
    return apply(model, variables, pixels(images), method="features")


def _digest(variables: Variables) -> str:
    """Returns the SHA-256 of the parameters' names, dtypes, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name, array in sorted(traverse_util.flatten_dict(dict(variables), sep="/").items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(file: Path, task: Task) -> TrainedExtractor | None:
    """Returns the network in a file; None if it is missing or damaged."""
    try:
        # If NumPy opened the file itself and could not read it, it would leave it open.
        with file.open("rb") as stream, np.load(stream) as arrays:
            contents = dict(arrays)
        accuracy, digest = contents.pop("accuracy").item(), contents.pop("digest").item()
    except Exception:  # missing, or whatever NumPy, zipfile and tokenize raise for damage
        return None
    variables = traverse_util.unflatten_dict(contents, sep="/")
    if _digest(variables) != digest:
        return None
    return TrainedExtractor(task, variables, accuracy, digest)


def _write(file: Path, extractor: TrainedExtractor) -> None:
    """Writes a network whole; if there is no room, not at all, and it is trained again."""
    arrays: dict[str, Any] = traverse_util.flatten_dict(dict(extractor.variables), sep="/")
    with contextlib.suppress(OSError), whole(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, accuracy=extractor.accuracy, digest=extractor.digest, **arrays)
