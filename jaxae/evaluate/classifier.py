"""A small classifier, trained by jaxae, that gives FID, KID and similar figures their features.

>>> judge = load_or_train(data.load("mnist"))
>>> frechet_distance(features(judge, real_images), features(judge, generated_images))
"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from filelock import FileLock
from flax import traverse_util
from jax import Array

from jaxae import files
from jaxae.cli import is_writable
from jaxae.data import Dataset
from jaxae.errors import UserError
from jaxae.files import whole
from jaxae.models import ConvEncoder, ConvLayer, Shape, lecun
from jaxae.network import apply
from jaxae.runs import seeded_state
from jaxae.train import (
    Batch,
    Examples,
    Terms,
    Variables,
    as_array,
    canonicalize_array,
    check_floats,
    fit,
    make_evaluation,
    pixels,
    steps_in_epoch,
    variables_of,
)

FEATURES_NOTE = (
    "FID, KID, precision, recall and Inception Score rest on the features of a small classifier "
    "that jaxae itself trained on this dataset: they compare with each other, not with figures "
    "from the Inception network."
)

_BATCH_SIZE = 1000  # images classified at a time


@dataclass(frozen=True)
class ClassifierSettings:
    """The network and its training; with the dataset, the key of a classifier in the cache."""

    version: int = 1  # of the network and its training: raise it when either changes
    channels: tuple[int, ...] = (32, 64)  # of convolutions, each of which halves the sides
    features: int = 64  # width of the layer before the logits
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 2e-3  # of Adam at the start; falls to 0 along a cosine
    seed: int = 0


class FeatureNetwork(nn.Module):
    """An encoder that gives features, and a head that turns them into logits of classes."""

    encoder: nn.Module
    head: nn.Module

    def features(self, x: Array) -> Array:
        """Returns the layer before the logits: float images [B, H, W, C] -> [B, D]."""
        return self.encoder(x)

    def __call__(self, x: Array) -> Array:
        return self.head(self.features(x))


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network, with its accuracy, and a digest that identifies it."""

    model: FeatureNetwork
    variables: Variables  # what `model.apply` takes
    shape: Shape  # (H, W, C) of the images it reads
    accuracy: float  # on the dataset's test split, in [0, 1]
    digest: str  # SHA-256 of its parameters
    dataset: str  # the name


def features(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Returns the nonnegative layer before the logits: images [N, H, W, C] -> float32 [N, D].

    Images are uint8, or floats in [0, 1]; raises `UserError` for others, and for other shapes.
    """
    return _apply(_features, classifier, images)


def probabilities(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Returns the probability of each class: images [N, H, W, C] -> float32 [N, classes].

    Images are uint8, or floats in [0, 1]; raises `UserError` for others, and for other shapes.
    """
    return _apply(_probabilities, classifier, images)


def load_or_train(
    dataset: Dataset,
    folder: Path | None = None,
    settings: ClassifierSettings = ClassifierSettings(),
) -> Classifier:
    """Returns the classifier of a dataset from the cache, or trains and caches it.

    A cached classifier whose digest does not match is trained again. While one process trains,
    others wait for it. If the folder cannot be written, each call without a cached classifier
    trains one.

    Args:
      dataset: the images and labels to train on.
      folder: the cache; None for the user's cache folder.
      settings: the network and its training.

    Raises:
      UserError: the dataset has fewer than two classes.
    """
    folder = files.cache_folder() / "classifiers" if folder is None else folder
    file = folder / f"{dataset.name.replace('/', '.')}-{_cache_key(dataset, settings)}.npz"
    if not is_writable(folder):
        return _read(file, dataset, settings) or train(dataset, settings)
    with FileLock(file.with_suffix(".lock")):
        cached = _read(file, dataset, settings)
        if cached is not None:
            return cached
        classifier = train(dataset, settings)
        _write(file, classifier)
    return classifier


def train(dataset: Dataset, settings: ClassifierSettings = ClassifierSettings()) -> Classifier:
    """Trains on a dataset's training split and measures the accuracy on its test split.

    The same dataset, settings and machine give the same parameters. Raises `UserError` for a
    dataset of fewer than two classes.
    """
    model = _network(dataset, settings)
    objective = partial(cross_entropy, model=model)
    examples = Examples(dataset.train.images, dataset.train.labels)
    size, shape = len(examples.images), dataset.test.images.shape[1:]
    batch_size = min(settings.batch_size, size)
    steps = settings.epochs * steps_in_epoch(size, batch_size)
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, steps))
    make = partial(seeded_state, model=model, optimizer=optimizer, shape=shape)
    effort = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    state = jax.jit(make, compiler_options=effort)(settings.seed)  # as in `runs.initial_state`
    for progress in fit(
        state,
        examples,
        objective=objective,
        optimizer=optimizer,
        epochs=settings.epochs,
        batch_size=batch_size,
    ):
        state = progress.state
    evaluate = make_evaluation(objective, min(_BATCH_SIZE, len(dataset.test.images)))
    test = Examples(dataset.test.images, dataset.test.labels)
    accuracy = float(evaluate(variables_of(state), state.key, test)["accuracy"])
    variables = jax.device_get(variables_of(state))
    return Classifier(model, variables, shape, accuracy, _digest(variables), dataset.name)


def cross_entropy(
    variables: Variables, key: Array, batch: Batch, *, model: FeatureNetwork
) -> Terms:
    """-log p(label | image) of each example, in nats; its metric "accuracy" is 1 or 0."""
    del key
    assert batch.labels is not None
    logits = apply(model, variables, pixels(batch.images))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    correct = jnp.argmax(logits, axis=-1) == batch.labels
    return Terms(loss, {"accuracy": correct.astype(jnp.float32)})


def _network(dataset: Dataset, settings: ClassifierSettings) -> FeatureNetwork:
    classes = len(dataset.class_names)
    if classes < 2:
        raise UserError(
            f"{dataset.name} has {classes} classes: FID and similar figures need a classifier, so "
            "give a dataset of two or more"
        )
    layers = tuple(ConvLayer(channels, stride=2) for channels in settings.channels)
    encoder = ConvEncoder(
        layers, settings.features, latent_activation=nn.relu, initialization=lecun
    )
    return FeatureNetwork(encoder, nn.Dense(classes))


@partial(jax.jit, static_argnames="model")
def _features(variables: Variables, images: Array, *, model: FeatureNetwork) -> Array:
    return apply(model, variables, pixels(images), method="features")


@partial(jax.jit, static_argnames="model")
def _probabilities(variables: Variables, images: Array, *, model: FeatureNetwork) -> Array:
    return jax.nn.softmax(apply(model, variables, pixels(images)))


def _apply(
    function: Callable[..., Array], classifier: Classifier, images: np.ndarray
) -> np.ndarray:
    """Applies a jitted function to images in batches: [N, H, W, C] -> float32 [N, ...]."""
    images = np.asarray(as_array("images", images))
    if images.shape[1:] != classifier.shape or len(images) == 0:
        raise UserError(
            f"images of shape {images.shape} were given to a classifier of {classifier.dataset}: "
            f"it reads [N, {', '.join(map(str, classifier.shape))}], N 1 or more"
        )
    images = canonicalize_array("images", images)
    if images.dtype != np.uint8:
        check_floats("images", images)
    count = len(images)
    size = min(count, _BATCH_SIZE)
    outputs = []
    for start in range(0, count, size):
        # The last batch overlaps the one before, so that one compiled program serves all.
        batch = images[min(start, count - size) :][:size]
        output = function(classifier.variables, batch, model=classifier.model)
        outputs.append(np.asarray(output)[start - count :])
    return np.concatenate(outputs)


def _digest(variables: Variables) -> str:
    """Returns the SHA-256 of the parameters' names, dtypes, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name, array in sorted(traverse_util.flatten_dict(dict(variables), sep="/").items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _cache_key(dataset: Dataset, settings: ClassifierSettings) -> str:
    return hashlib.sha256(f"{dataset.fingerprint}{settings}".encode()).hexdigest()[:16]


def _read(file: Path, dataset: Dataset, settings: ClassifierSettings) -> Classifier | None:
    """Returns the classifier in a file; None if it is missing or damaged."""
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
    shape = dataset.test.images.shape[1:]
    return Classifier(_network(dataset, settings), variables, shape, accuracy, digest, dataset.name)


def _write(file: Path, classifier: Classifier) -> None:
    """Writes a classifier whole; if there is no room, not at all, and it is trained again."""
    arrays: dict[str, Any] = traverse_util.flatten_dict(dict(classifier.variables), sep="/")
    with contextlib.suppress(OSError), whole(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, accuracy=classifier.accuracy, digest=classifier.digest, **arrays)
