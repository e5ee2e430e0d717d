"""PCA against scikit-learn, and against closed forms."""

import numpy as np
import pytest
from sklearn.decomposition import PCA as SklearnPCA

from jaxae import metrics
from jaxae.errors import UserError


def uint8_images(count=300, seed=0):
    """Returns images whose principal components have well separated variances."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(count, 8)) * 2.0 ** -np.arange(8)
    images = 128 + 40 * factors @ random.normal(size=(8, 5 * 4 * 3)) / 4
    return np.rint(images.clip(0, 255)).astype(np.uint8).reshape(count, 5, 4, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pca_equals_scikit_learn(dtype, monkeypatch):
    # Three chunks, the last smaller.
    monkeypatch.setattr("jaxae.metrics.pca._CHUNK", 128)
    images = uint8_images().astype(dtype)
    flat = images.reshape(len(images), -1).astype(np.float64)
    pca, oracle = metrics.fit_pca(images, 6), SklearnPCA(6, svd_solver="full").fit(flat)
    np.testing.assert_allclose(pca.mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(pca.components, np.asarray(oracle.components_), atol=1e-9)
    np.testing.assert_allclose(pca.encode(images), oracle.transform(flat), atol=1e-4)
    expected = np.reshape(oracle.inverse_transform(oracle.transform(flat)), images.shape)
    reconstructions = pca.reconstruct(images)
    assert reconstructions.dtype == np.float32
    np.testing.assert_allclose(reconstructions, expected, atol=1e-4)


def test_pca_of_floats_is_the_pca_of_bytes_in_another_scale():
    images = uint8_images()
    of_bytes, of_floats = metrics.fit_pca(images, 4), metrics.fit_pca(images / 255, 4)
    np.testing.assert_allclose(of_floats.components, of_bytes.components, atol=1e-9)
    np.testing.assert_allclose(
        of_floats.reconstruct(images / 255), of_bytes.reconstruct(images) / 255, atol=1e-6
    )


def test_pca_error_is_the_variance_left_out_and_a_full_basis_leaves_none():
    images = uint8_images(count=40)
    flat = images.reshape(40, -1).astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(flat.T, bias=True))[::-1]
    error = np.mean((metrics.fit_pca(images, 5).reconstruct(images) - images.astype(float)) ** 2)
    np.testing.assert_allclose(error, variances[5:].sum() / 60, rtol=1e-5)
    full = metrics.fit_pca(images, 40)  # K = N < D
    np.testing.assert_allclose(full.reconstruct(images), images, atol=1e-3)


def test_vectors_are_images_that_are_already_flat():
    images = uint8_images()
    flat = images.reshape(300, 60)
    of_images, of_vectors = metrics.fit_pca(images, 6), metrics.fit_pca(flat, 6)
    np.testing.assert_array_equal(of_vectors.components, of_images.components)
    np.testing.assert_array_equal(of_vectors.encode(flat), of_images.encode(images))
    assert of_vectors.reconstruct(flat).shape == flat.shape


def test_pca_signs_make_the_largest_entry_of_each_component_positive():
    components = metrics.fit_pca(uint8_images(), 6).components
    assert (components.max(axis=1) >= -components.min(axis=1)).all()
    np.testing.assert_allclose(components @ components.T, np.eye(6), atol=1e-12)


def test_pca_of_constant_images_returns_them():
    images = np.full((6, 3, 3, 1), 200, np.uint8)
    np.testing.assert_array_equal(metrics.fit_pca(images, 2).reconstruct(images), images)


@pytest.mark.parametrize("components", [0, -1, 61, 301])
@pytest.mark.usefixtures("unchecked_shapes")
def test_pca_refuses_impossible_numbers_of_components(components):
    with pytest.raises(UserError, match="1 to 60"):
        metrics.fit_pca(uint8_images(), components)


@pytest.mark.usefixtures("unchecked_shapes")
def test_pca_refuses_other_arrays():
    images = uint8_images()
    pca = metrics.fit_pca(images, 2)
    with pytest.raises(UserError, match="shape"):
        metrics.fit_pca(images.reshape(300, 20, 3), 2)
    with pytest.raises(UserError, match="int64"):
        metrics.fit_pca(images.astype(np.int64), 2)
    with pytest.raises(UserError, match="NaN"):
        metrics.fit_pca(np.where(images == images[0, 0, 0, 0], np.nan, images), 2)
    with pytest.raises(UserError, match="fitted to 60"):
        pca.encode(images[:, :4])
    with pytest.raises(UserError, match=r"\[N, 2\]"):
        pca.decode(np.zeros((5, 3)))
