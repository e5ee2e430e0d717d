"""Errors of images and vectors against scikit-image and scikit-learn, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import r2_score

from jaxae import metrics
from jaxae.errors import UserError


def noisy_pair(shape, seed=0):
    """Returns smooth random images in [0, 1] with noise and without, float32."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(size=(shape[0], shape[1] // 4 + 1, shape[2] // 4 + 1, shape[3]))
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[1], : shape[2]]
    noisy = np.clip(images + 0.1 * random.normal(size=shape), 0, 1)
    return noisy.astype(np.float32), images.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (2, 32, 21, 3), (1, 11, 11, 1)])
def test_ssim_equals_scikit_image(shape):
    noisy, images = noisy_pair(shape)
    expected = [
        structural_similarity(
            x.astype(np.float64),
            y.astype(np.float64),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )
        for x, y in zip(noisy, images, strict=True)
    ]
    np.testing.assert_allclose(metrics.ssim(noisy, images), expected, atol=2e-6)
    np.testing.assert_allclose(jax.jit(metrics.ssim)(noisy, images), expected, atol=2e-6)


def test_ssim_of_constant_images_is_the_luminance_term():
    a, b = np.array([[0, 0.3, 1, 1], [0, 0.4, 0.9, 0]], np.float32)
    images, targets = (np.tile(v[:, None, None, None], (1, 16, 16, 1)) for v in (a, b))
    expected = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    np.testing.assert_allclose(metrics.ssim(images, targets), expected, rtol=1e-5)


@pytest.mark.slow
def test_ssim_of_an_image_with_itself_is_one_and_with_its_negative_below_zero():
    noisy, _ = noisy_pair((2, 28, 28, 1))
    np.testing.assert_allclose(metrics.ssim(noisy, noisy), 1, rtol=1e-6)
    assert (metrics.ssim(noisy, 1 - noisy) < 0).all()


def test_mse_and_psnr_equal_their_definitions_per_image():
    noisy, images = noisy_pair((4, 9, 7, 3))
    expected = [np.mean((x - y) ** 2) for x, y in zip(noisy, images, strict=True)]
    np.testing.assert_allclose(metrics.mse(noisy, images), expected, rtol=1e-5)
    decibels = [
        peak_signal_noise_ratio(y, x, data_range=1) for x, y in zip(noisy, images, strict=True)
    ]
    np.testing.assert_allclose(jax.jit(metrics.psnr)(noisy, images), decibels, rtol=1e-5)


def test_mse_of_vectors_is_that_of_images_with_the_same_numbers():
    noisy, images = noisy_pair((4, 9, 7, 3))
    flat = [array.reshape(4, -1) for array in (noisy, images)]
    np.testing.assert_allclose(metrics.mse(*flat), metrics.mse(noisy, images), rtol=1e-6)


def test_r_squared_is_the_mean_over_dimensions_that_vary():
    random = np.random.default_rng(0)
    targets = random.normal(3, 2.0 ** np.arange(5), (50, 5)).astype(np.float32)
    guesses = targets + random.normal(size=(50, 5)).astype(np.float32)
    expected = r2_score(targets, guesses)
    np.testing.assert_allclose(metrics.r_squared(guesses, targets), expected, rtol=1e-5)
    constant = np.full((50, 1), 7, np.float32)
    wider = [np.concatenate([array, constant], axis=1) for array in (guesses + 1, targets)]
    np.testing.assert_allclose(metrics.r_squared(*wider), metrics.r_squared(guesses + 1, targets))
    means = np.broadcast_to(targets.mean(axis=0), targets.shape)
    np.testing.assert_allclose(metrics.r_squared(means, targets), 0, atol=1e-6)
    assert metrics.r_squared(targets, targets) == 1
    assert np.isnan(metrics.r_squared(constant, constant))


@pytest.mark.usefixtures("unchecked_shapes")
def test_r_squared_refuses_other_shapes():
    with pytest.raises(UserError, match=r"\[B, H, W, C\] or \[B, D\]"):
        metrics.r_squared(np.zeros((5, 2)), np.zeros((4, 2)))


@pytest.mark.slow
def test_psnr_of_equal_images_is_one_hundred_and_of_opposites_zero():
    black, white = np.zeros((1, 4, 4, 1), np.float32), np.ones((1, 4, 4, 1), np.float32)
    np.testing.assert_allclose(metrics.psnr(black, black), 100, rtol=1e-6)
    np.testing.assert_allclose(metrics.psnr(black, white), 0, atol=1e-6)
    assert jnp.isfinite(jax.grad(lambda x: metrics.psnr(x, white).sum())(white)).all()


@pytest.mark.slow
def test_low_precision_images_are_compared_in_float32():
    images = jnp.full((1, 16, 16, 1), 0.5, jnp.bfloat16)
    for metric in (metrics.mse, metrics.psnr, metrics.ssim):
        assert metric(images, images).dtype == jnp.float32


@pytest.mark.parametrize("metric", [metrics.mse, metrics.psnr, metrics.ssim])
@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (np.zeros((2, 16, 16, 1)), np.zeros((1, 16, 16, 1)), "shape"),
        (np.zeros((16, 16, 1)), np.zeros((16, 16, 1)), "shape"),
        (np.zeros((2, 16, 16, 1), np.uint8), np.zeros((2, 16, 16, 1)), "uint8"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_arrays_that_cannot_be_compared_are_refused(metric, images, targets, message):
    with pytest.raises(UserError, match=message):
        metric(images, targets)


@pytest.mark.usefixtures("unchecked_shapes")
def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(UserError, match="10x28"):
        metrics.ssim(np.zeros((1, 10, 28, 1)), np.zeros((1, 10, 28, 1)))
