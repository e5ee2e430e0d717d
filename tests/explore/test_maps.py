"""Maps of codes: planes that lead back to codes, distances to training codes, and UMAP."""

import sys
import types

import numpy as np
import pytest

from jaxae.explore import maps

GENERATOR = np.random.default_rng(0)


def test_codes_of_two_numbers_are_their_own_map() -> None:
    codes = GENERATOR.normal(size=(20, 2)).astype(np.float32)
    (only,) = maps.make_maps(codes, codes, seed=0)
    np.testing.assert_allclose(only.points, codes)
    assert only.name == "Codes"


def test_codes_of_one_number_lie_on_a_line() -> None:
    codes = GENERATOR.normal(size=(20, 1)).astype(np.float32)
    (only,) = maps.make_maps(codes, codes, seed=0)
    np.testing.assert_allclose(only.points, np.pad(codes, ((0, 0), (0, 1))))


def test_other_codes_are_mapped_by_the_components_of_training_codes() -> None:
    train = GENERATOR.normal(size=(200, 5)) * (1, 9, 1, 4, 1) + 3
    codes = train[:30]
    (only,) = maps.make_maps(codes, train, seed=0)
    assert only.components is not None
    assert only.mean is not None
    np.testing.assert_allclose(only.points, (codes - only.mean) @ only.components.T, atol=1e-9)
    np.testing.assert_allclose(only.components @ only.components.T, np.eye(2), atol=1e-9)
    assert np.abs(only.components[0]).argmax() == 1
    assert np.abs(only.components[1]).argmax() == 3


def test_distances_are_those_to_the_nearest_training_code() -> None:
    train = np.array([[0.0, 0.0], [4.0, 0.0]])
    (only,) = maps.make_maps(train, train, seed=0)
    assert only.distances is not None
    cells = len(only.distances)
    x, y = (
        only.low[n] + (np.arange(cells) + 0.5) / cells * (only.high[n] - only.low[n])
        for n in range(2)
    )
    places = np.stack(np.meshgrid(x, y[::-1]), axis=-1)[..., None, :]
    expected = np.linalg.norm(places - train, axis=-1).min(axis=-1)
    np.testing.assert_allclose(only.distances / 255, expected / expected.max(), atol=1 / 255)


def test_equal_codes_have_a_map() -> None:
    codes = np.ones((5, 3), np.float32)
    (only,) = maps.make_maps(codes, codes, seed=0)
    assert np.isfinite(only.points).all()
    assert only.high[0] > only.low[0]


def test_there_is_a_map_of_umap_if_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class UMAP:
        def __init__(self, *, n_neighbors: int, random_state: int, n_jobs: int) -> None:
            assert (n_neighbors, random_state, n_jobs) == (15, 7, 1)

        def fit_transform(self, codes: np.ndarray) -> np.ndarray:
            return codes[:, :2] * 2

    module = types.ModuleType("umap")
    module.__dict__["UMAP"] = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(maps.importlib.util, "find_spec", lambda name: module)
    codes = GENERATOR.normal(size=(20, 5))
    _, neighbors = maps.make_maps(codes, codes, seed=7)
    assert neighbors.components is None
    assert neighbors.distances is None
    np.testing.assert_array_equal(neighbors.points, codes[:, :2] * 2)


def test_the_typical_distance_is_the_median_to_the_nearest() -> None:
    assert maps.typical_distance(np.array([[0.0], [1.0], [3.0], [6.0]])) == 1.5
    assert maps.typical_distance(np.array([[0.0]])) == 0
