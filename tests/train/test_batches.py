"""The order of an epoch, and the batches taken from examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.train import Examples, apply_in_parts, epoch_order, gather, pixels, steps_in_epoch
from jaxae.train.batches import in_batches


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize(("size", "batch_size"), [(10, 5), (10, 4), (7, 7), (3, 1), (5000, 128)])
def test_each_epoch_holds_every_example_once(size: int, batch_size: int, parts: int) -> None:
    order = np.asarray(epoch_order(jax.random.key(0), 3, size, batch_size, parts=parts))
    width = -(-batch_size // parts) * parts
    assert order.shape == (steps_in_epoch(size, batch_size), width)
    assert order.dtype == np.int32
    whole = order[:, :batch_size].reshape(-1)
    assert sorted(whole[:size]) == list(range(size))
    assert np.all(whole[size:] < 0)
    assert np.all(order[:, batch_size:] < 0)


@pytest.mark.parametrize(("size", "batch_size", "parts"), [(10, 4, 1), (5000, 128, 1), (9, 3, 2)])
def test_padding_goes_on_in_the_order_and_repeats_no_example_of_its_batch(
    size: int, batch_size: int, parts: int
) -> None:
    order = np.asarray(epoch_order(jax.random.key(0), 0, size, batch_size, parts=parts))
    permutation = order[:, :batch_size].reshape(-1)[:size]
    for step, batch in enumerate(order):
        taken = np.where(batch < 0, -1 - batch, batch)
        assert len(set(taken)) == len(taken)
        np.testing.assert_array_equal(
            taken, np.resize(np.roll(permutation, -step * batch_size), len(taken))
        )


def test_a_dropped_remainder_differs_in_each_epoch() -> None:
    dropped = []
    for epoch in range(3):
        order = np.asarray(epoch_order(jax.random.key(0), epoch, 10, 4, drop_remainder=True))
        assert order.shape == (steps_in_epoch(10, 4, drop_remainder=True), 4) == (2, 4)
        whole = np.asarray(epoch_order(jax.random.key(0), epoch, 10, 4))
        np.testing.assert_array_equal(order, whole[:2])
        dropped.append(frozenset(range(10)) - set(order.reshape(-1).tolist()))
    assert len(set(dropped)) == 3


def test_few_examples_are_repeated_to_fill_a_large_batch() -> None:
    np.testing.assert_array_equal(
        in_batches(jnp.array([2, 0, 1]), 8), [[2, 0, 1, -3, -1, -2, -3, -1]]
    )


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
    batch = gather(jax.tree.map(jnp.asarray, examples), jnp.array([3, 1, -1, -5]))
    np.testing.assert_array_equal(batch.images.reshape(-1), [3, 1, 0, 4])
    assert batch.labels is not None
    assert batch.inputs is not None
    np.testing.assert_array_equal(batch.labels, [30, 10, 0, 40])
    np.testing.assert_allclose(batch.inputs.reshape(-1), [0.6, 0.2, 0, 0.8])
    np.testing.assert_array_equal(batch.weights, [1, 1, 0, 0])


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
