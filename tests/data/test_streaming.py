"""Images streamed from disk: the same numbers as from memory, also after an interruption."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import data, evaluate, likelihoods, models, objectives, runs, train
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.runs import with_binarization
from jaxae.train import Examples
from support import tiny

source_root = pytest.fixture(tiny.source_root)
small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)

MODEL = models.Autoencoder(models.DenseEncoder((8,), 2), models.DenseDecoder((8,), (28, 28, 1)))
OPTIMIZER = optax.adam(1e-2)
STEPS = 6  # 40 images in batches of 7; the last batch has 5


@pytest.fixture
def load(source_root: Path, tmp_path: Path) -> partial[data.Dataset]:
    return partial(data.load, "mnist", data_dir=tmp_path / "sets", sources=source_root)


def new_state(seed: int) -> train.State:
    init_key, run_key = jax.random.split(jax.random.key(seed))
    return train.init(run_key, MODEL.init(init_key, jnp.zeros((1, 28, 28, 1))), OPTIMIZER)


def fit(split: data.Split, state: train.State, **options) -> list[train.Progress]:
    reconstruct = partial(
        objectives.reconstruction, network=Network(MODEL, likelihoods.BERNOULLI), per_pixel=True
    )
    return list(
        train.fit(
            state,
            Examples(split.images, split.labels),
            objective=partial(
                objectives.denoising,
                objective=reconstruct,
                corrupt=partial(objectives.add_gaussian_noise, noise=0.3),
            ),
            optimizer=OPTIMIZER,
            epochs=2,
            batch_size=7,
            **options,
        )
    )


def assert_close(left: train.Progress, right: train.Progress) -> None:
    for tree, other in ((left.state.params, right.state.params), (left.totals, right.totals)):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5), tree, other)


def test_streamed_images_are_those_in_memory_in_the_same_order(load: partial[data.Dataset]) -> None:
    streamed = load(stream=True)  # also prepares the set
    assert isinstance(streamed.train.images, data.Column)
    tiny.assert_small_mnist(load())
    for name in ("images", "labels"):
        column, array = getattr(streamed.train, name), getattr(load().train, name)
        assert (column.shape, column.ndim, column.dtype) == (array.shape, array.ndim, array.dtype)
        for key in (slice(3, 9), 5, [7, 0, 7], slice(None)):
            np.testing.assert_array_equal(column[key], array[key])
        np.testing.assert_array_equal(np.asarray(column), array)
    np.testing.assert_array_equal(streamed.test.images, load().test.images)
    assert streamed.fingerprint == load(stream=True).fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("chunk_steps", [1, 4, 100, None])
@pytest.mark.parametrize("replicas", [1, 2])
def test_streamed_training_equals_training_from_memory(
    chunk_steps: int | None, replicas: int, load: partial[data.Dataset]
) -> None:
    state = new_state(0)
    if replicas > 1:
        states = [new_state(seed) for seed in range(replicas)]
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    streamed = fit(load(stream=True).train, state, chunk_steps=chunk_steps)
    resident = fit(load().train, state, chunk_steps=chunk_steps)
    assert [(p.epoch, p.steps) for p in streamed] == [(p.epoch, p.steps) for p in resident]
    for left, right in zip(streamed, resident, strict=True):
        assert_close(left, right)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_steps", [4, None])
def test_streamed_padding_is_that_in_memory(
    chunk_steps: int | None, load: partial[data.Dataset]
) -> None:
    """The last batch, of 5 images and 2 of padding, is summed whole, whatever the weights."""

    def objective(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
        seen = variables["seen"]["sum"] + batch.images.astype(jnp.float32).sum(axis=0)
        loss = jnp.square(variables["params"]["x"]) * batch.weights
        return train.Terms(loss, {}, {"seen": {"sum": seen}})

    variables = {"params": {"x": jnp.ones(())}, "seen": {"sum": jnp.zeros((28, 28, 1))}}
    state = train.init(jax.random.key(0), variables, OPTIMIZER)
    sums = []
    for split in (load(stream=True).train, load().train):
        *_, end = train.fit(
            state,
            Examples(split.images, split.labels),
            objective=objective,
            optimizer=OPTIMIZER,
            epochs=2,
            batch_size=7,
            chunk_steps=chunk_steps,
        )
        sums.append(end.state.collections["seen"]["sum"])
    np.testing.assert_array_equal(*sums)
    assert np.any(sums[0] != 2 * load().train.images.astype(np.float32).sum(axis=0))


@pytest.mark.slow
def test_a_streamed_fit_resumes_at_the_same_image(load: partial[data.Dataset]) -> None:
    split = load(stream=True).train
    whole = fit(split, new_state(0), chunk_steps=2)
    stopped = whole[3]  # in the second epoch
    assert not stopped.finished_epoch
    resumed = fit(split, stopped.state, totals=stopped.totals, chunk_steps=2)
    assert len(resumed) == len(whole) - 4
    assert_close(resumed[-1], whole[-1])


@pytest.mark.slow
def test_processes_read_the_same(load: partial[data.Dataset]) -> None:
    order = np.array([[3, 1, 4, 1], [5, 9, 2, -1], [-9, 6, 5, 3]])
    batches = []
    for workers in (0, 2):
        column = load(stream=True, workers=workers).train.images
        assert isinstance(column, data.Column)
        batches.append(list(data.read_batches(column.split, order)))
    images, labels = load().train.images, load().train.labels
    assert labels is not None
    for threads, processes, indices in zip(*batches, order, strict=True):
        for batch in (threads, processes):
            places = np.where(indices < 0, -1 - indices, indices)
            np.testing.assert_array_equal(batch[0], images[places])
            np.testing.assert_array_equal(batch[1], labels[places])


def test_inputs_in_memory_are_refused(load: partial[data.Dataset]) -> None:
    split = load(stream=True).train
    examples = Examples(split.images, inputs=np.zeros((40, 28, 28, 1), np.float32))
    with pytest.raises(UserError, match="inputs in memory were given for images that are streamed"):
        next(
            train.fit(
                new_state(0),
                examples,
                objective=lambda *_: pytest.fail("is called"),
                optimizer=OPTIMIZER,
                epochs=1,
                batch_size=7,
                totals={},
            )
        )


def test_static_binarization_of_streamed_images_is_refused(load: partial[data.Dataset]) -> None:
    recipe = runs.reconstruction_recipe(Network(MODEL, likelihoods.BERNOULLI), OPTIMIZER)
    streamed = load(stream=True)
    assert with_binarization(recipe, streamed, "dynamic").examples is None
    with pytest.raises(UserError, match="give --binarization dynamic"):
        with_binarization(recipe, streamed, "static")


def test_a_streamed_set_is_evaluated_with_labels_in_memory(load: partial[data.Dataset]) -> None:
    images, expected = evaluate.make_images(load(stream=True), "none"), load()
    for split, whole in ((images.train, expected.train), (images.test, expected.test)):
        assert isinstance(split.labels, np.ndarray)
        np.testing.assert_array_equal(split.labels, whole.labels)
        np.testing.assert_array_equal(split.images[:], whole.images)


def test_bundled_subsets_stay_in_memory() -> None:
    assert isinstance(data.load("mnist_mini", stream=True).train.images, np.ndarray)
