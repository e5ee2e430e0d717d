"""The figures of a trained network: how it reconstructs, encodes and generates.

Each function computes the figures of one network, by name; equal arguments give equal figures.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxae import family, metrics, priors
from jaxae.errors import UserError
from jaxae.evaluate import classifier
from jaxae.evaluate.classifier import Classifier
from jaxae.evaluate.images import Images
from jaxae.evaluate.log_likelihood import log_likelihood
from jaxae.likelihoods import BERNOULLI
from jaxae.network import Trained
from jaxae.priors import Prior
from jaxae.train import apply_in_parts

Figures = dict[str, float]


MOST_GENERATED = 10_000  # images, where a run is not told how many


LEAST_GENERATED = 10  # images, that have as many neighbours as precision and recall look at


_FITTED = 10_000  # training images at most, whose codes a prior is fitted on


_LARGEST_PCA = 5000  # numbers in an image; PCA takes their square in memory, their cube in time


_KEPT = 200  # generated images, to be shown


_WEIGHED_AT_ONCE = 100  # images, each with several samples at a time


_LEAST_SIDE = 11  # pixels, of the window of SSIM


@dataclass(frozen=True)
class EvaluationSettings:
    """How networks are judged."""

    prior: Prior  # where the codes of generated images come from
    samples: int  # of the posterior, for the log-likelihood of each image
    weighed: int  # test images whose log-likelihood is estimated
    generated: int  # images that are generated
    seed: int  # of the samples, the prior's fit and the generated codes


def choose_prior(trained: Trained, objective: str | None) -> Prior:
    """Where new codes for a network come from: as its member of the family says, or as it is made.

    That is the standard normal where there is a posterior, codes seen in training where these are
    quantized, and a mixture fitted on them elsewhere.
    """
    member = family.FAMILY.get(objective or "")
    if member is not None:
        return member.prior
    if trained.network.has_posterior:
        return "normal"
    return "mixture" if trained.network.quantizer is None else "resample"


@dataclass(frozen=True)
class Judged:
    """What judging a network gives."""

    figures: Figures
    generated: np.ndarray  # the first of the images that were generated, float [N, H, W, C]


def judge(
    trained: Trained, images: Images, settings: EvaluationSettings, classes: Classifier
) -> Judged:
    """All figures that a network has; the classifier's features are those of images."""
    sample_key, generate_key = jax.random.split(jax.random.key(settings.seed))
    train_codes = trained.encode(images.train, images.train_labels)
    test_codes = trained.encode(images.test, images.test_labels)
    reconstructions = trained.reconstruct(images.test, images.test_labels)
    figures = {
        **_judge_reconstructions(reconstructions, images.test),
        **judge_code_use(trained, test_codes),
    }
    if trained.classes is None:  # else the codes have been told the classes
        figures |= _probe(train_codes, images.train_labels, test_codes, images.test_labels)
    if has_likelihood(trained, images.test):
        weighed = slice(settings.weighed)
        figures["negative_log_likelihood"] = _negative_log_likelihood(
            trained,
            sample_key,
            images.test[weighed],
            images.test_labels[weighed],
            samples=settings.samples,
        )
    real = images.dataset.test.images[: settings.generated]
    # As plain autoencoders are judged, so that the two compare.
    more: tuple[Prior, ...] = ("mixture",) if settings.prior == "normal" else ()
    new = np.zeros((0, *images.test.shape[1:]), np.float32)
    for prior in (*more, settings.prior):
        try:
            sample = priors.fit(trained, train_codes[:_FITTED], prior, seed=settings.seed)
        except UserError:  # codes that have collapsed are too few: all else is judged still
            continue
        new = _generate(trained, sample, images.test_labels, settings.generated, generate_key)
        judged = _judge_generated(new, real, classes, seed=settings.seed)
        figures |= judged if prior == settings.prior else _prefix(f"{prior}_", judged)
    compared = (classifier.features(classes, each) for each in (reconstructions[: len(real)], real))
    figures["reconstruction_fid"] = metrics.frechet_distance(*compared)
    return Judged(figures, new[:_KEPT].copy())


def _judge_reconstructions(reconstructions: np.ndarray, images: np.ndarray) -> Figures:
    """Means over images of MSE, PSNR in dB and SSIM; no SSIM of images that are too small for it.

    Reconstructions float in [0, 1], images uint8, both [N, H, W, C].
    """
    measures = {"mse": metrics.mse, "psnr": metrics.psnr, "ssim": metrics.ssim}
    if min(images.shape[1:3]) < _LEAST_SIDE:
        del measures["ssim"]
    targets = images.astype(np.float32) / 255
    return {
        f"test_{name}": float(
            apply_in_parts(jax.jit(measure), reconstructions, targets).mean(dtype=float)
        )
        for name, measure in measures.items()
    }


def has_likelihood(trained: Trained, images: np.ndarray) -> bool:
    """Whether importance sampling can say how likely images, uint8, are under a network.

    Grey pixels have none under Bernoulli's likelihood, whose loss of them is a cross-entropy.
    """
    fits = trained.network.likelihood is not BERNOULLI or bool(np.isin(images, (0, 255)).all())
    return trained.network.has_posterior and trained.network.likelihood.normalized and fits


def _negative_log_likelihood(
    trained: Trained, key: jax.Array, images: np.ndarray, labels: np.ndarray, *, samples: int
) -> float:
    """The mean of -log p(x) over images, in nats, by importance sampling."""

    def weigh(numbers: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        estimates = log_likelihood(
            trained.variables,
            jax.random.fold_in(key, int(numbers[0])),
            images,
            labels,
            network=trained.network,
            samples=samples,
        )
        return np.asarray(estimates)

    numbers = np.arange(len(images))
    estimates = apply_in_parts(weigh, numbers, images, labels, size=_WEIGHED_AT_ONCE)
    return -float(estimates.mean(dtype=float))


def judge_code_use(trained: Trained, test_codes: np.ndarray) -> Figures:
    """Active units of a posterior; perplexity and used codes of a codebook; else nothing."""
    if trained.network.has_posterior:
        return {"active_units": metrics.active_units(test_codes.reshape(len(test_codes), -1))}
    quantizer = trained.network.quantizer
    if quantizer is None:
        return {}

    def read_indices(model: Any, part: np.ndarray) -> jax.Array:
        return model.bottleneck.indices(part)

    read = partial(trained.network.model.apply, trained.variables, method=read_indices)
    indices = apply_in_parts(lambda part: np.asarray(read(part)), test_codes)
    return {
        "codebook_perplexity": metrics.perplexity(indices, quantizer.size),
        "codes_used": len(np.unique(indices)),
        "codebook_size": quantizer.size,
    }


def _generate(
    trained: Trained, sample: priors.Sampler, labels: np.ndarray, count: int, key: jax.Array
) -> np.ndarray:
    """Images decoded from new codes, float in [0, 1], [count, H, W, C].

    A conditional network is given the labels in turn.
    """
    return trained.decode(sample(key, count), np.resize(labels, count))


def _judge_generated(
    generated: np.ndarray, real: np.ndarray, classes: Classifier, *, seed: int
) -> Figures:
    """How near generated images [N, H, W, C] are to real ones [M, H, W, C], by a classifier."""
    features, real_features = (classifier.features(classes, each) for each in (generated, real))
    precision, recall = metrics.precision_and_recall(real_features, features)
    return {
        "fid": metrics.frechet_distance(features, real_features),
        "kid": metrics.kernel_distance(features, real_features, seed=seed).mean,
        "precision": precision,
        "recall": recall,
        "inception_score": metrics.inception_score(classifier.probabilities(classes, generated)),
    }


def judge_references(
    trained: Trained, images: Images, settings: EvaluationSettings, classes: Classifier
) -> Figures:
    """What a network's figures compare with.

    Probes of pixels and, unless images are large, of as many principal components as a code has
    numbers; training images judged as if they had been generated.
    """
    train, test = (images.train, images.train_labels), (images.test, images.test_labels)
    count = settings.generated
    training, real = (split.images[:count] for split in (images.dataset.train, images.dataset.test))
    figures = {
        **_prefix("pixels_", _probe(*train, *test)),
        **_prefix("training_", _judge_generated(training, real, classes, seed=settings.seed)),
    }
    if images.test[0].size > _LARGEST_PCA:
        return figures
    code = trained.encode(images.test[:1], images.test_labels[:1])
    pca = metrics.fit_pca(images.train, min(code.size, images.test[0].size, len(images.train)))
    pca_train, pca_test = ((pca.encode(pixels), labels) for pixels, labels in (train, test))
    return figures | _prefix("pca_", _probe(*pca_train, *pca_test))


def _probe(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> Figures:
    """How well classes are told from codes or images, [N, ...] and [M, ...]."""
    return {
        "linear_probe_accuracy": metrics.linear_probe_accuracy(
            train, train_labels, test, test_labels
        ),
        "neighbour_accuracy": metrics.neighbour_accuracy(train, train_labels, test, test_labels),
    }


def _prefix(start: str, figures: Figures) -> Figures:
    """The figures under longer names."""
    return {start + name: value for name, value in figures.items()}
