"""Paths between codes, their dimensions, classes and neighbors, against closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae import latents
from jaxae.errors import UserError

GENERATOR = np.random.default_rng(0)
PATHS = [latents.interpolate_linearly, latents.interpolate_spherically]


def random_codes(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3, 4)])
def test_a_path_leads_from_the_first_code_to_the_second(
    path: latents.Interpolate, shape: tuple[int, ...]
) -> None:
    start, stop = random_codes(2, *shape)
    codes = path(start, stop, 7)
    assert codes.shape == (7, *shape)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes[[0, -1]], [start, stop], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(path(stop, start, 7)[::-1], codes, rtol=1e-4, atol=1e-6)


def test_linear_steps_are_equal() -> None:
    start, stop = random_codes(2, 3)
    steps = np.diff(latents.interpolate_linearly(start, stop, 5), axis=0)
    np.testing.assert_allclose(steps, np.tile((stop - start) / 4, (4, 1)), atol=1e-6)


def test_spherical_interpolation_turns_by_equal_angles() -> None:
    angle = 2.0
    start, stop = np.array([3.0, 0, 0]), 3 * np.array([np.cos(angle), 0, np.sin(angle)])
    angles = np.linspace(0, angle, 9)
    expected = 3 * np.stack([np.cos(angles), np.zeros(9), np.sin(angles)], axis=1)
    codes = latents.interpolate_spherically(start, stop, 9)
    np.testing.assert_allclose(codes, expected, atol=1e-6)
    # Shoemake's formula gives the same.
    t = np.linspace(0, 1, 9)[:, None]
    formula = np.sin((1 - t) * angle) * start + np.sin(t * angle) * stop
    np.testing.assert_allclose(codes, formula / np.sin(angle), atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-7, 2.0, -1.0, -1 - 1e-7, -0.5, -1e-3])
def test_norms_change_linearly_even_between_equal_and_opposite_codes(factor: float) -> None:
    start = random_codes(4).astype(np.float64)
    codes = latents.interpolate_spherically(start, factor * start, 6)
    norms = np.linspace(1, abs(factor), 6) * np.linalg.norm(start)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), norms, rtol=1e-5)
    np.testing.assert_allclose(codes[-1], factor * start, rtol=1e-5, atol=1e-5)


@given(st.floats(1e-12, 1e-3))
@settings(max_examples=30, deadline=None)
def test_nearly_parallel_codes_are_joined_nearly_by_a_line(tilt: float) -> None:
    start = np.array([1.0, 0.0])
    stop = np.array([2.0, tilt])
    spherical = latents.interpolate_spherically(start, stop, 5)
    linear = latents.interpolate_linearly(start, stop, 5)
    np.testing.assert_allclose(spherical, linear, atol=tilt + 1e-6)


def test_a_code_of_zero_has_no_direction() -> None:
    code = random_codes(3)
    for start, stop in ((np.zeros(3), code), (code, np.zeros(3)), (np.zeros(3), np.zeros(3))):
        np.testing.assert_array_equal(
            latents.interpolate_spherically(start, stop, 4),
            latents.interpolate_linearly(start, stop, 4),
        )


@pytest.mark.parametrize("path", PATHS)
def test_a_morph_passes_each_code_once_and_ends_before_the_first(path: latents.Interpolate) -> None:
    codes = random_codes(3, 2)
    decoded = latents.morph(lambda z: z[:, :, None, None], codes, 4, path)[..., 0, 0]
    assert decoded.shape == (12, 2)
    np.testing.assert_allclose(decoded[::4], codes, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(decoded[8:], path(codes[2], codes[0], 5)[:4])


def test_a_traversal_changes_one_dimension_at_a_time() -> None:
    code, values = random_codes(3), np.array([-1.0, 0.0, 2.0, 5.0])
    codes = latents.traverse(code, values)
    assert codes.shape == (3, 4, 3)
    for dimension in range(3):
        for index, value in enumerate(values):
            expected = code.copy()
            expected[dimension] = value
            np.testing.assert_array_equal(codes[dimension, index], expected)


def test_a_traversal_of_a_feature_map_takes_some_of_its_numbers() -> None:
    code = random_codes(2, 2, 3)
    codes = latents.traverse(code, [7.0, 8.0], dimensions=[11, 0])
    assert codes.shape == (2, 2, 2, 2, 3)
    assert (codes[0, :, 1, 1, 2] == [7, 8]).all()
    assert (codes[1, :, 0, 0, 0] == [7, 8]).all()
    assert (codes != code).sum() == 4


def test_class_means_are_the_means_of_the_codes_of_each_class() -> None:
    codes = np.array([[0.0, 2.0], [10.0, 0.0], [4.0, 6.0]])
    np.testing.assert_array_equal(latents.class_means(codes, [0, 1, 0]), [[2, 4], [10, 0]])
    maps = random_codes(6, 2, 2, 1)
    means = latents.class_means(maps, np.array([0, 0, 0, 1, 1, 1]))
    np.testing.assert_allclose(means, maps.reshape(2, 3, 2, 2, 1).mean(axis=1), atol=1e-6)


def test_a_difference_moves_the_mean_of_one_class_to_the_other() -> None:
    codes, labels = random_codes(20, 3), np.arange(20) % 2
    means = latents.class_means(codes, labels)
    moved = latents.add_difference(codes[labels == 0], means[0], means[1])
    np.testing.assert_allclose(moved.mean(axis=0), means[1], atol=1e-6)
    one_each = latents.add_difference(codes, means[labels], means[1 - labels])
    np.testing.assert_array_equal(one_each[labels == 0], moved)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 1)])
def test_neighbors_are_those_that_brute_force_finds(shape: tuple[int, ...]) -> None:
    codes, queries = random_codes(50, *shape), random_codes(300, *shape)  # more than one chunk
    distances = np.square(queries[:, None] - codes[None]).reshape(300, 50, -1).sum(axis=-1)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(latents.nearest_neighbors(queries, codes, 4), expected)


def test_ties_between_neighbors_go_to_the_first() -> None:
    codes = np.array([[1.0], [-1.0], [3.0], [1.0], [0.5]])
    assert latents.nearest_neighbors(np.zeros((1, 1)), codes, 3).tolist() == [[4, 0, 1]]
    assert latents.nearest_neighbors(np.zeros((1, 1)), codes, 5).tolist() == [[4, 0, 1, 3, 2]]
    images = np.array([[255, 0], [0, 0]], np.uint8)  # whose differences would wrap around
    assert latents.nearest_neighbors(np.array([[0, 1]], np.uint8), images, 1).tolist() == [[1]]


NAN = np.full(2, np.nan)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (latents.interpolate_linearly, ([1.0], [1.0, 2.0], 3), "shapes"),
        (latents.interpolate_spherically, ([1.0], [2.0], 1), "1 codes"),
        (latents.interpolate_spherically, (NAN, NAN, 3), "NaN"),
        (latents.morph, (np.asarray, np.ones((1, 2)), 3), "through 1"),
        (latents.morph, (np.asarray, np.ones((2, 2)), 0), "0 steps"),
        (latents.traverse, (np.ones(2), [1.0], [2]), "from 0 to 1"),
        (latents.traverse, (np.ones(2), 1.0), "values"),
        (latents.class_means, (np.ones((3, 2)), [0, 0, 2]), "label 1"),
        (latents.class_means, (np.ones((3, 2)), [0, 0]), "one integer"),
        (latents.class_means, (np.ones((2, 2)), [0, -1]), "one integer"),
        (latents.add_difference, (np.ones((3, 2)), np.ones(3), np.ones(3)), "shape"),
        (latents.nearest_neighbors, (np.ones((1, 2)), np.ones((3, 2)), 4), "1 to 3"),
        (latents.nearest_neighbors, (np.ones((1, 3)), np.ones((3, 2)), 1), "shape"),
        (latents.nearest_neighbors, (np.ones((1, 2)), NAN[None], 1), "NaN"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_what_does_not_fit_is_refused(
    function: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        function(*arguments)
