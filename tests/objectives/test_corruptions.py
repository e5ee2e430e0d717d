"""Corruptions: which pixels they change, and how many."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import objectives
from jaxae.train import Batch, Terms, pixels

KEY = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).integers(1, 255, (40, 20, 20, 3), np.uint8))
CORRUPTIONS: dict[str, Callable] = {
    "gaussian": partial(objectives.add_gaussian_noise, noise=0.3),
    "masking": partial(objectives.mask_pixels, rate=0.25),
    "salt and pepper": partial(objectives.add_salt_and_pepper, rate=0.25),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_images_are_images(name: str) -> None:
    corrupt = CORRUPTIONS[name]
    corrupted = corrupt(KEY, IMAGES)
    assert corrupted.shape == IMAGES.shape
    assert corrupted.dtype == jnp.float32
    assert 0 <= corrupted.min() <= corrupted.max() <= 1
    np.testing.assert_allclose(corrupted, jax.jit(corrupt)(KEY, pixels(IMAGES)), atol=1e-6)
    assert np.any(corrupted != corrupt(jax.random.key(1), IMAGES))


@pytest.mark.parametrize(("name", "values"), [("masking", {0}), ("salt and pepper", {0, 1})])
def test_a_share_of_pixels_changes_in_all_channels(name: str, values: set[int]) -> None:
    corrupted, clean = np.asarray(CORRUPTIONS[name](KEY, IMAGES)), np.asarray(pixels(IMAGES))
    changed = corrupted != clean
    np.testing.assert_array_equal(changed.any(axis=-1), changed.all(axis=-1))
    assert set(np.unique(corrupted[changed])) == values
    count = changed[..., 0].size
    error = 5 * (0.25 * 0.75 / count) ** 0.5
    assert abs(changed[..., 0].mean() - 0.25) < error
    for value in values:  # all equally often
        share = (corrupted[..., 0] == value).mean()
        assert abs(share - 0.25 / len(values)) < error


@pytest.mark.parametrize("corrupt", [objectives.mask_pixels, objectives.add_salt_and_pepper])
def test_rates_of_0_and_1(corrupt: Callable) -> None:
    np.testing.assert_array_equal(corrupt(KEY, IMAGES, 0.0), pixels(IMAGES))
    assert set(np.unique(corrupt(KEY, IMAGES, 1.0))) <= {0, 1}


VECTORS = jnp.asarray(np.random.default_rng(0).normal(5, 3, (200, 50)), jnp.float32)


def test_each_number_of_a_vector_is_masked_on_its_own() -> None:
    corrupted = np.asarray(objectives.mask_pixels(KEY, VECTORS, 0.25))
    masked = corrupted == 0
    np.testing.assert_array_equal(corrupted[~masked], np.asarray(VECTORS)[~masked])
    assert abs(masked.mean() - 0.25) < 5 * (0.25 * 0.75 / masked.size) ** 0.5
    assert not masked.all(axis=1).any()
    salted = np.asarray(objectives.add_salt_and_pepper(KEY, VECTORS, 0.25))
    assert set(np.unique(salted[salted != np.asarray(VECTORS)])) == {0, 1}


def test_noise_on_numbers_of_any_range_is_not_clipped() -> None:
    noisy = objectives.add_gaussian_noise(KEY, VECTORS, 2.0, bounded=False)
    noise = np.asarray(noisy - VECTORS)
    assert abs(noise.mean()) < 5 * 2 / noise.size**0.5
    np.testing.assert_allclose(noise.std(), 2, rtol=0.03)
    clipped = objectives.add_gaussian_noise(KEY, VECTORS, 2.0)
    np.testing.assert_array_equal(clipped, np.clip(noisy, 0, 1))


def test_denoising_reads_corrupted_and_compares_with_clean_images() -> None:
    seen: list[Any] = []

    def objective(variables: Any, key: jax.Array, batch: Batch) -> Terms:
        seen.append((key, batch))
        return Terms(jnp.zeros(len(batch.images)))

    batch = Batch(IMAGES, None, None, jnp.ones(len(IMAGES)))
    corrupt = CORRUPTIONS["masking"]
    objectives.denoising({}, KEY, batch, objective=objective, corrupt=corrupt)
    ((key, given),) = seen
    noise_key, objective_key = jax.random.split(KEY)
    np.testing.assert_array_equal(given.images, IMAGES)
    np.testing.assert_array_equal(given.inputs, corrupt(noise_key, IMAGES))
    assert key == objective_key
