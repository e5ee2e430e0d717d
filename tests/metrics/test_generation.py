"""Distances of feature sets against closed forms, and against the formulas written out."""

import numpy as np
import pytest
import scipy.linalg

from jaxae.errors import UserError
from jaxae.metrics import frechet_distance, inception_score, kernel_distance, precision_and_recall


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def features_with(mean: np.ndarray, variances: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Returns features with exactly this mean and these variances (with N - 1) along the axes.

    There are two for each axis, one on either side of the mean.
    """
    spread = np.sqrt(variances * (2 * len(variances) - 1) / 2)[:, None] * axes.T
    return mean + np.concatenate([spread, -spread])


def test_frechet_distance_of_commuting_covariances_is_the_closed_form():
    axes, _ = np.linalg.qr(normal(0, 6, 6))
    mean, other_mean = normal(1, 6), normal(2, 6)
    variances, other_variances = normal(3, 6) ** 2, normal(4, 6) ** 2
    variances[0] = other_variances[1] = 0  # singular, in different directions
    expected = np.sum((mean - other_mean) ** 2) + np.sum(
        (np.sqrt(variances) - np.sqrt(other_variances)) ** 2
    )
    distance = frechet_distance(
        features_with(mean, variances, axes), features_with(other_mean, other_variances, axes)
    )
    np.testing.assert_allclose(distance, expected, rtol=1e-10)


def test_frechet_distance_equals_its_definition():
    features, others = normal(0, 60, 8) @ normal(1, 8, 8), normal(2, 50, 8) + 1
    covariance, other = np.cov(features.T), np.cov(others.T)
    trace = np.trace(covariance + other - 2 * np.real(scipy.linalg.sqrtm(covariance @ other)))
    expected = np.sum((features.mean(0) - others.mean(0)) ** 2) + trace
    np.testing.assert_allclose(frechet_distance(features, others), expected, rtol=1e-8)


def test_frechet_distance_of_fewer_examples_than_dimensions_equals_its_definition():
    features, others = normal(0, 7, 12) @ normal(1, 12, 12), normal(2, 40, 12) + 1
    covariance, other = np.cov(features.T), np.cov(others.T)
    values, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(values.clip(0)) @ axes.T
    between = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    expected = np.sum((features.mean(0) - others.mean(0)) ** 2)
    expected += np.trace(covariance + other) - 2 * between
    np.testing.assert_allclose(frechet_distance(features, others), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(30, 8), (4, 8)])
def test_frechet_distance_is_symmetric_and_nothing_to_itself(shape):
    features, others = 100 * normal(0, *shape), normal(1, 20, shape[1])
    assert frechet_distance(features, others) == frechet_distance(others, features)
    assert 0 <= frechet_distance(features, features) < 1e-10
    dead = features * (np.arange(shape[1]) > 2)  # units that are never active
    assert 0 <= frechet_distance(dead, dead[::-1]) < 1e-10


def test_frechet_distance_of_a_shift_is_its_square():
    features = normal(0, 30, 5).astype(np.float32)
    np.testing.assert_allclose(frechet_distance(features, features + 3), 45, rtol=1e-5)
    constant = np.ones((3, 5))
    np.testing.assert_allclose(frechet_distance(constant, 2 * constant), 5, rtol=1e-12)


def test_kernel_distance_of_whole_sets_equals_a_double_loop():
    x, y = normal(0, 6, 3), normal(1, 6, 3) + 1

    def mean_kernel(a: np.ndarray, b: np.ndarray, *, distinct: bool) -> float:
        values = [
            (float(p @ q) / 3 + 1) ** 3
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if not (distinct and i == j)
        ]
        return float(np.mean(values))

    expected = mean_kernel(x, x, distinct=True) + mean_kernel(y, y, distinct=True)
    expected -= 2 * mean_kernel(x, y, distinct=False)
    distance = kernel_distance(x, y, subsets=3, subset_size=6)
    np.testing.assert_allclose(distance.mean, expected, rtol=1e-10)
    np.testing.assert_allclose(distance.standard_deviation, 0, atol=1e-12)


def test_kernel_distance_of_halves_of_one_set_is_zero_in_the_mean():
    means = [
        kernel_distance(normal(seed, 40, 4), normal(seed + 1000, 40, 4), subsets=5).mean
        for seed in range(200)
    ]
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means)) < 4 * error
    assert min(means) < 0  # unbiased, so no estimate of a square
    shifted = kernel_distance(normal(0, 40, 4), normal(1000, 40, 4) + 1, subsets=5)
    assert shifted.mean > 10 * error


def test_kernel_distance_follows_its_seed():
    x, y = normal(0, 40, 4), normal(1, 30, 4)
    first = kernel_distance(x, y, subsets=4)
    assert first == kernel_distance(x, y, subsets=4, subset_size=15, seed=0)
    assert first != kernel_distance(x, y, subsets=4, seed=1)
    assert first.standard_deviation > 0


def test_precision_and_recall_are_one_for_equal_sets_and_zero_for_distant_ones():
    features = normal(0, 300, 6)  # two chunks, the last smaller
    features[:20] = features[0]  # balls of radius 0
    assert precision_and_recall(features, features) == (1, 1)
    assert precision_and_recall(features, features + 1000) == (0, 0)


def test_precision_and_recall_equal_their_definition():
    real, generated = normal(0, 40, 2), 0.8 * normal(1, 30, 2) + 1

    def share(points: np.ndarray, centers: np.ndarray) -> float:
        among = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
        radii = np.sort(among, axis=1)[:, 3]
        distances = np.linalg.norm(points[:, None] - centers[None], axis=-1)
        return float((distances <= radii[None]).any(axis=1).mean())

    precision, recall = precision_and_recall(real, generated, neighbors=3)
    assert precision == pytest.approx(share(generated, real))
    assert recall == pytest.approx(share(real, generated))
    assert 0 < recall < 1
    assert 0 < precision < 1


def test_inception_score_is_one_for_equal_rows_and_the_classes_for_certain_balanced_ones():
    np.testing.assert_allclose(inception_score(np.full((8, 5), 0.2)), 1, rtol=1e-12)
    np.testing.assert_allclose(inception_score(np.tile(np.eye(5), (4, 1))), 5, rtol=1e-12)
    np.testing.assert_allclose(inception_score(np.eye(5)[[2, 2, 2]]), 1, rtol=1e-12)


def test_inception_score_equals_its_definition():
    logits = normal(0, 20, 4)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.exp(np.mean([np.sum(row * np.log(row / p.mean(axis=0))) for row in p]))
    np.testing.assert_allclose(inception_score(p.astype(np.float32)), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, precision_and_recall])
@pytest.mark.usefixtures("unchecked_shapes")
def test_features_that_cannot_be_compared_are_refused(metric):
    features = normal(0, 20, 3)
    for others, message in (
        (normal(1, 20, 4), "one network"),
        (normal(1, 20), "one network"),
        (normal(1, 1, 3), "20 and 1"),
        (np.full((20, 3), np.nan), "NaN"),
    ):
        with pytest.raises(UserError, match=message):
            metric(features, others)


@pytest.mark.usefixtures("unchecked_shapes")
def test_settings_and_probabilities_without_meaning_are_refused():
    features = normal(0, 20, 3)
    for subsets, size in ((0, 5), (3, 1), (3, 21)):
        with pytest.raises(UserError, match="2 to 20"):
            kernel_distance(features, features, subsets=subsets, subset_size=size)
    with pytest.raises(UserError, match="neighbors"):
        precision_and_recall(features, features, neighbors=0)
    with pytest.raises(UserError, match="6 or more"):
        precision_and_recall(features[:5], features)
    for probabilities in (np.full((3, 2), 0.4), np.array([[1.5, -0.5]]), np.full((1, 2), np.nan)):
        with pytest.raises(UserError, match="add up to 1"):
            inception_score(probabilities)
    with pytest.raises(UserError, match="classes"):
        inception_score(np.ones(3))
