"""Labels on a plane: none covers another, none leaves it, and none strays."""

import itertools

import numpy as np
import pytest

from jaxae.pages.placing import overlaps, place_labels

EXTENT = (672.0, 504.0)


def overlapping(places, sizes, shown):
    """The pairs of shown labels that overlap."""
    return [
        (a, b)
        for a, b in itertools.combinations(np.flatnonzero(shown), 2)
        if overlaps(places[a], sizes[a], places[b], sizes[b])
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("spread", [0.0, 10.0, 60.0, 400.0])
def test_labels_that_are_shown_do_not_overlap_and_stay_near_and_inside(seed, spread):
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 13))
    sizes = np.stack([random.uniform(14, 110, count), np.full(count, 20.0)], axis=1)
    centers = np.array(EXTENT)[None] / 2 + random.normal(0, 1, (count, 2)) * spread
    places, shown = place_labels(centers, sizes, EXTENT)
    assert overlapping(places, sizes, shown) == []
    assert shown[0] or np.linalg.norm(places[0] - centers[0]) > 48
    drawn = np.flatnonzero(shown)
    assert (np.linalg.norm(places[drawn] - centers[drawn], axis=1) <= 48).all()
    assert (places - sizes / 2 >= -1e-9).all()
    assert (places + sizes / 2 <= np.array([EXTENT]) + 1e-9).all()


def test_labels_that_are_apart_stay_where_they_are():
    centers = np.array([[100.0, 100.0], [200.0, 100.0], [100.0, 150.0]])
    sizes = np.tile([[90.0, 20.0]], (3, 1))
    places, shown = place_labels(centers, sizes, EXTENT)
    np.testing.assert_array_equal(places, centers)
    assert shown.all()


def test_two_labels_that_overlap_are_pushed_apart_along_the_shorter_way():
    centers = np.array([[100.0, 100.0], [110.0, 108.0]])
    places, shown = place_labels(centers, np.tile([[90.0, 20.0]], (2, 1)), EXTENT)
    np.testing.assert_allclose(places, [[100, 94], [110, 114]])
    assert shown.all()


def test_of_many_labels_at_one_place_the_first_are_shown():
    places, shown = place_labels(np.full((30, 2), 250.0), np.tile([[90.0, 20.0]], (30, 1)), EXTENT)
    assert 1 <= shown.sum() < 30
    assert overlapping(places, np.tile([[90.0, 20.0]], (30, 1)), shown) == []


def test_a_label_wider_than_the_plane_begins_at_its_edge():
    places, _ = place_labels(np.array([[10.0, 10.0]]), np.array([[900.0, 20.0]]), EXTENT)
    np.testing.assert_array_equal(places, [[450, 10]])
