"""Labels, inputs and images of any dtype: steps compute with its canonical dtype."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import train
from jaxae.errors import UserError
from jaxae.train import Batch, Examples, canonicalize, pixels

SHAPE = (4, 4, 1)
SIZE = 23
BATCH = 5  # leaves a last batch of 3

SWAPPED = ">i8", ">u2", ">f4", ">f8"
NUMBERS = dict.fromkeys(
    np.dtype(code) for code in (*np.typecodes["AllInteger"], *np.typecodes["Float"], *SWAPPED)
)
"""NumPy's integers and floats, each once, and some with the other byte order."""


def labeled_objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    """Checks the dtypes that it is given; its loss depends on all numbers."""
    assert batch.labels is not None
    assert batch.inputs is not None
    assert batch.images.dtype in (jnp.uint8, jnp.float32)
    assert batch.inputs.dtype == batch.images.dtype
    assert batch.labels.dtype in (jnp.int32, jnp.float32)
    guess = variables["params"]["guess"]
    mean = (pixels(batch.images) + pixels(batch.inputs)).mean((1, 2, 3))
    return train.Terms(jnp.square(guess - mean) + batch.labels.astype(mean.dtype), {"mean": mean})


def as_measured(examples: Any) -> list[train.Metrics]:
    """Returns the metrics of a fit, an epoch, an evaluation and a step on the same examples."""
    optimizer = optax.sgd(0.1)
    variables = {"params": {"guess": jnp.zeros(())}}
    state = train.init(jax.random.key(0), variables, optimizer)
    fit = train.fit(
        state,
        examples,
        objective=labeled_objective,
        optimizer=optimizer,
        epochs=1,
        batch_size=BATCH,
    )
    *_, progress = fit
    batch = Batch(examples.images, examples.labels, examples.inputs, jnp.ones(SIZE))
    return [
        progress.metrics,
        train.make_epoch(labeled_objective, optimizer, BATCH)(state, examples)[1],
        train.make_evaluation(labeled_objective, BATCH)(variables, jax.random.key(0), examples),
        train.make_step(labeled_objective, optimizer)(state, batch)[1],
    ]


def canonical_examples(*, whole: bool) -> Examples:
    """Returns examples in canonical dtypes, whose numbers every dtype of NumPy can hold."""
    numbers = np.random.default_rng(0).integers(0, 128, (SIZE, *SHAPE), np.uint8)
    labels = np.arange(SIZE, dtype=np.int32) % 10
    if whole:
        return Examples(numbers, labels, numbers)
    numbers = numbers.astype(np.float32) / 128
    return Examples(numbers, labels.astype(np.float32), numbers)


@cache
def measured_in_canonical_dtypes(*, whole: bool) -> list[train.Metrics]:
    """Returns the metrics that examples of every other dtype must have, too."""
    return as_measured(canonical_examples(whole=whole))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: dtype.str)
def test_every_dtype_of_numpy_trains_like_its_canonical_dtype(dtype):
    """Warnings are errors here, so no dtype is truncated with a warning, either."""
    whole = np.issubdtype(dtype, np.integer)
    cast: Any = jax.tree.map(lambda array: array.astype(dtype), canonical_examples(whole=whole))
    expected = measured_in_canonical_dtypes(whole=whole)
    jax.tree.map(np.testing.assert_array_equal, as_measured(cast), expected)


@pytest.mark.slow
def test_a_fit_computes_in_float64_if_jax_allows_it():
    """The loss of the first step, whose guess is 0, has more digits than a float32."""
    images = np.random.default_rng(0).random((SIZE, *SHAPE))
    optimizer = optax.sgd(0.1)

    def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
        mean = batch.images.mean((1, 2, 3))
        return train.Terms(jnp.square(variables["params"]["guess"] - mean), {})

    with jax.enable_x64(True):
        state = train.init(jax.random.key(0), {"params": {"guess": jnp.zeros(())}}, optimizer)
        fit = train.fit(
            state,
            Examples(images),
            objective=objective,
            optimizer=optimizer,
            epochs=1,
            batch_size=SIZE,
        )
        *_, progress = fit
        loss = progress.metrics["loss"]
    assert loss.dtype == np.float64
    np.testing.assert_allclose(loss, np.square(images.mean((1, 2, 3))).mean(), rtol=1e-14)


def test_float64_stays_if_jax_allows_it():
    images = np.zeros((2, *SHAPE))
    with jax.enable_x64(True):
        wide: Any = canonicalize(Examples(images, np.arange(2), images.astype(np.float32)))
    assert (wide.images.dtype, wide.labels.dtype) == (np.float64, np.int32)
    assert wide.inputs.dtype == canonicalize(Examples(images)).images.dtype == np.float32


def test_canonical_arrays_are_returned_as_they_are():
    """They are not copied, so converting them costs nothing."""
    for given in (canonical_examples(whole=True), canonical_examples(whole=False)):
        canonical = canonicalize(given)
        assert canonical.images is given.images
        assert canonical.labels is given.labels
        assert canonical.inputs is given.inputs


@pytest.mark.parametrize("dtype", ["int4", "uint4", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_the_dtypes_of_jax_are_converted_like_those_of_numpy(dtype):
    numbers = np.arange(4).reshape(4, 1, 1, 1).astype(jnp.dtype(dtype))
    canonical: Any = canonicalize(Examples(numbers, numbers.reshape(4)))
    whole = "int" in dtype
    assert canonical.images.dtype == (np.uint8 if whole else np.float32)
    assert canonical.labels.dtype == (np.int32 if whole else np.float32)
    np.testing.assert_array_equal(canonical.images.reshape(4), np.arange(4))
    np.testing.assert_array_equal(canonical.labels, np.arange(4))


def test_floats_on_a_device_that_would_become_infinite_are_refused():
    with jax.enable_x64(True):
        images, infinite = jnp.full((2, *SHAPE), 1e300), jnp.full((2, *SHAPE), jnp.inf)
    with pytest.raises(UserError, match=r"images with 1e\+300 .* float32 cannot hold"):
        canonicalize(Examples(images))
    assert np.isinf(canonicalize(Examples(infinite)).images).all()  # as given


def test_under_trace_no_numbers_are_checked():
    traced = jax.jit(canonicalize)(Examples(jnp.full((1, *SHAPE), 256)))
    np.testing.assert_array_equal(traced.images, 0)


def test_booleans_are_labels_and_lists_are_arrays():
    images: Any = np.zeros((4, *SHAPE), np.uint8).tolist()
    labels: Any = [True, False, True, True]
    canonical: Any = canonicalize(Examples(images, labels))
    assert canonical.images.shape == (4, *SHAPE)
    assert canonical.labels.dtype == np.int32
