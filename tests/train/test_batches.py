"""The order of an epoch, and the batches taken from examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.train import Examples, apply_in_parts, epoch_order, gather, pixels, steps_in_epoch


@pytest.mark.parametrize(("size", "batch_size"), [(10, 5), (10, 4), (7, 7), (3, 1)])
def test_each_epoch_holds_every_example_once(size, batch_size):
    order = np.asarray(epoch_order(jax.random.key(0), 3, size, batch_size))
    assert order.shape == (steps_in_epoch(size, batch_size), batch_size)
    assert sorted(order[order >= 0]) == list(range(size))
    assert np.all(order.reshape(-1)[size:] == -1)


def test_order_follows_key_and_epoch():
    def order(seed: int, epoch: int) -> np.ndarray:
        return np.asarray(epoch_order(jax.random.key(seed), epoch, 100, 10))

    np.testing.assert_array_equal(order(0, 1), order(0, 1))
    assert np.any(order(0, 1) != order(0, 2))
    assert np.any(order(0, 1) != order(1, 1))


@pytest.mark.slow
def test_gather_takes_all_parts_of_the_same_examples():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    examples = Examples(images, labels=np.arange(5) * 10, inputs=images / 5)
    batch = gather(jax.tree.map(jnp.asarray, examples), jnp.array([3, 1, -1]))
    np.testing.assert_array_equal(batch.images.reshape(-1)[:2], [3, 1])
    assert batch.labels is not None
    assert batch.inputs is not None
    np.testing.assert_array_equal(batch.labels[:2], [30, 10])
    np.testing.assert_allclose(batch.inputs.reshape(-1)[:2], [0.6, 0.2])
    np.testing.assert_array_equal(batch.weights, [1, 1, 0])


def test_pixels_of_bytes_and_of_floats():
    np.testing.assert_allclose(pixels(jnp.array([0, 51, 255], jnp.uint8)), [0, 0.2, 1])
    floats = jnp.array([0.0, 0.25, 1.0])
    np.testing.assert_array_equal(pixels(floats), floats)


def test_parts_of_an_array_are_put_together() -> None:
    sizes = []

    def double(values: np.ndarray) -> np.ndarray:
        sizes.append(len(values))
        return 2 * values

    np.testing.assert_array_equal(apply_in_parts(double, np.arange(7), size=3), 2 * np.arange(7))
    assert sizes == [3, 3, 1]
