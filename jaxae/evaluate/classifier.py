"""A small classifier, trained by jaxae, that gives FID, KID and similar figures their features.

>>> judge = load_or_train(make_task(make_images(data.load("mnist"), "none")))
>>> frechet_distance(judge.features(real_images), judge.features(generated_images))
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxae.data import Split
from jaxae.errors import UserError
from jaxae.evaluate.extractors import (
    FeatureNetwork,
    NetworkSettings,
    Task,
    TrainedExtractor,
    examples_of,
    make_encoder,
)
from jaxae.evaluate.images import Images, labeled
from jaxae.network import apply
from jaxae.train import Batch, Terms, Variables, pixels

FEATURES_NOTE = (
    "FID, KID, precision, recall and Inception Score rest on the features of a small classifier "
    "that jaxae itself trained on this dataset: they compare with each other, not with figures "
    "from the Inception network."
)

# Features of a classifier near chance say nothing about images.
_LEAST_ERRORS_AVOIDED = 0.1  # share of the errors of guessing the largest class
_STANDARD_ERRORS = 4  # of the accuracy of that guess, that a good classifier is above it


def make_task(images: Images, settings: NetworkSettings = NetworkSettings()) -> Task:
    """Returns the task of telling a dataset's classes apart, from its examples with a label.

    Raises `UserError` unless there are labels of two classes or more.
    """
    dataset = images.dataset
    train, test = labeled(dataset.train), labeled(dataset.test)
    if train is None or test is None or len(np.unique(train[1])) < 2:
        raise UserError(
            f"{dataset.name} has no two classes with labels: a classifier needs them, so give "
            "another dataset"
        )
    encoder = make_encoder(settings, dataset.test.images.shape[1:])
    model = FeatureNetwork(encoder, nn.Dense(len(dataset.class_names)))
    examples, test_examples = (examples_of(Split(*pair), images.range) for pair in (train, test))
    objective = partial(cross_entropy, model=model)
    return Task("classifier", dataset, model, objective, settings, examples, test_examples)


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


def probabilities(classifier: TrainedExtractor, features: np.ndarray) -> np.ndarray:
    """Returns the probability of each class: features of images [N, D] -> float32 [N, classes]."""
    model, variables = classifier.task.model, classifier.variables
    logits = apply(model, variables, jnp.asarray(features), method="outputs")
    return np.asarray(jax.nn.softmax(logits))


def chance(classifier: TrainedExtractor) -> float:
    """Returns the share of the largest class among the test examples, in [0, 1]."""
    _, counts = np.unique(np.asarray(classifier.task.test_examples.labels), return_counts=True)
    return float(counts.max() / counts.sum())


def is_good(classifier: TrainedExtractor) -> bool:
    """Returns whether a classifier is clearly better than guessing the largest class.

    It must avoid a tenth of the errors of that guess, on test images that it did not learn from,
    and be above its accuracy by more than four binomial standard errors, which no luck explains.
    """
    guessed = chance(classifier)
    count = len(classifier.task.test_examples.images)
    standard_error = math.sqrt(guessed * (1 - guessed) / count)
    gained = classifier.accuracy - guessed
    return gained > _STANDARD_ERRORS * standard_error and gained >= _LEAST_ERRORS_AVOIDED * (
        1 - guessed
    )
