"""Probes on data whose accuracy is known, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxae.errors import UserError
from jaxae.metrics import linear_probe_accuracy, neighbor_accuracy, probes

PROBES = (linear_probe_accuracy, neighbor_accuracy)


def clusters(seed: int, count: int = 120, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes [N, 4], each near one of three corners, and the numbers of their corners."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 3
    codes = np.eye(4)[labels] + noise * generator.normal(size=(count, 4))
    return codes.astype(np.float32), labels


@pytest.mark.parametrize("probe", PROBES)
def test_separable_codes_are_told_apart_and_shuffled_labels_are_not(probe):
    codes, labels = clusters(0)
    test_codes, test_labels = clusters(1, 600)
    assert probe(codes, labels, test_codes, test_labels) == 1
    shuffled = np.random.default_rng(2).permutation(test_labels)
    assert abs(probe(codes, labels, test_codes, shuffled) - 1 / 3) < 0.08


@pytest.mark.parametrize("probe", PROBES)
def test_feature_maps_are_read_as_vectors(probe):
    codes, labels = clusters(0, noise=0.5)
    test_codes, test_labels = clusters(1, noise=0.5)
    flat = probe(codes, labels, test_codes, test_labels)
    maps = probe(codes.reshape(-1, 2, 2, 1), labels, test_codes.reshape(-1, 2, 2, 1), test_labels)
    assert 0.4 < flat == maps < 1


def test_linear_probe_equals_scikit_learn_on_standardized_codes():
    codes, labels = clusters(0, noise=0.6)
    test_codes, test_labels = clusters(1, 900, noise=0.6)
    mean, deviation = codes.mean(axis=0), codes.std(axis=0)
    oracle = LogisticRegression(tol=1e-6).fit((codes - mean) / deviation, labels)
    expected = np.mean(oracle.predict((test_codes - mean) / deviation) == test_labels)
    assert linear_probe_accuracy(codes, labels, test_codes, test_labels) == pytest.approx(
        expected, abs=0.003
    )


def test_linear_probe_does_not_depend_on_scales_or_constant_numbers():
    codes, labels = clusters(0, noise=0.6)
    test_codes, test_labels = clusters(1, noise=0.6)
    expected = linear_probe_accuracy(codes, labels, test_codes, test_labels)
    scales, shifts = np.array([1e3, 1, 1e-3, 1]), np.array([0, -5, 0, 0])
    constant = np.full((120, 2), 0.1)
    changed = [
        np.concatenate([c * scales[None] + shifts[None], constant], axis=1)
        for c in (codes, test_codes)
    ]
    accuracy = linear_probe_accuracy(changed[0], labels, changed[1], test_labels)
    assert accuracy == pytest.approx(expected, abs=0.02)


def test_a_linear_probe_that_is_stopped_early_counts_and_gives_no_warning(monkeypatch):
    monkeypatch.setattr(probes, "_ITERATIONS", 1)
    codes, labels = clusters(0, noise=0.6)
    assert 1 / 3 < linear_probe_accuracy(codes, labels, codes, labels) < 1


def test_neighbor_accuracy_equals_a_sort_of_all_distances():
    codes, labels = clusters(0, noise=0.7)
    test_codes, test_labels = clusters(1, noise=0.7)
    distances = np.linalg.norm(test_codes[:, None] - codes[None], axis=-1)
    nearest = labels[np.argsort(distances, axis=1)[:, :5]]
    expected = np.mean([np.bincount(row).argmax() for row in nearest] == test_labels)
    assert neighbor_accuracy(codes, labels, test_codes, test_labels) == pytest.approx(expected)
    assert neighbor_accuracy(codes, labels, codes, labels, neighbors=1) == 1


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.usefixtures("unchecked_shapes")
def test_codes_that_cannot_be_probed_are_refused(probe):
    codes, labels = clusters(0)
    with pytest.raises(UserError, match="one network"):
        probe(codes, labels, codes[:, :3], labels)
    with pytest.raises(UserError, match="a label for each"):
        probe(codes, labels[:-1], codes, labels)
    with pytest.raises(UserError, match="a label for each"):
        probe(codes, labels, codes[:0], labels[:0])
    with pytest.raises(UserError, match="NaN"):
        probe(np.full_like(codes, np.nan), labels, codes, labels)


@pytest.mark.usefixtures("unchecked_shapes")
def test_one_class_and_impossible_numbers_of_neighbors_are_refused():
    codes, labels = clusters(0)
    with pytest.raises(UserError, match="one class"):
        linear_probe_accuracy(codes, np.zeros_like(labels), codes, labels)
    for neighbors in (0, 121):
        with pytest.raises(UserError, match=r"120 codes"):
            neighbor_accuracy(codes, labels, codes, labels, neighbors)
