"""Images streamed from disk: the same numbers as from memory, also after an interruption."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import data, evaluate, likelihoods, models, objectives, runs, train
from jaxae.data import cache, streaming, workers
from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.runs import with_binarization
from jaxae.train import Examples, pieces
from support import tiny
from support.sources import Numbers

source_root = pytest.fixture(tiny.source_root)
small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)

MODEL = models.Autoencoder(models.DenseEncoder((8,), 2), models.DenseDecoder((8,), (28, 28, 1)))
OPTIMIZER = optax.adam(1e-2)
WAYS = {"cache": None, "PNG, a thread": 0, "PNG, 2 processes": 2}
STEPS = 6  # 40 images in batches of 7; the last batch has 5


@pytest.fixture
def load(source_root: Path, tmp_path: Path) -> partial[data.Dataset]:
    return partial(data.load, "mnist", data_dir=tmp_path / "sets", sources=source_root)


@pytest.fixture
def stream(
    load: partial[data.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], data.Dataset]:
    """Returns a function that loads the small MNIST so that it is read in one of `WAYS`."""

    def load_stream(way: str) -> data.Dataset:
        workers = WAYS[way]
        if workers is None:
            return load(stream=True)
        for cached in (tmp_path / "sets").rglob(cache.FOLDER):
            shutil.rmtree(cached)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000_000))
            return load(stream=True, workers=workers)

    return load_stream


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


def in_turn(epoch: int) -> jax.Array:
    """Returns an order of the small MNIST, of eight batches."""
    return jnp.arange(40).reshape(8, 5) + 0 * epoch


def assert_same(left: train.Progress, right: train.Progress) -> None:
    for tree, other in ((left.state.params, right.state.params), (left.totals, right.totals)):
        jax.tree.map(np.testing.assert_array_equal, tree, other)


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
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    ("way", "chunk_steps", "drop_remainder"),
    [
        ("cache", 1, False),
        ("cache", 4, True),
        ("cache", 100, False),
        ("cache", None, True),
        ("PNG, a thread", 4, False),
        ("PNG, 2 processes", 4, True),
    ],
)
def test_streamed_training_equals_training_from_memory(
    way: str,
    chunk_steps: int | None,
    drop_remainder: bool,
    replicas: int,
    load: partial[data.Dataset],
    stream: Callable[[str], data.Dataset],
) -> None:
    """Bit for bit, in all chunks."""
    state = new_state(0)
    if replicas > 1:
        states = [new_state(seed) for seed in range(replicas)]
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    options = {"chunk_steps": chunk_steps, "drop_remainder": drop_remainder}
    resident = fit(load().train, state, **options)
    streamed = fit(stream(way).train, state, **options)
    assert [(p.epoch, p.steps) for p in streamed] == [(p.epoch, p.steps) for p in resident]
    for left, right in zip(streamed, resident, strict=True):
        assert_same(left, right)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_stream_without_its_validation_images_trains_as_from_memory(
    way: str, load: partial[data.Dataset], stream: Callable[[str], data.Dataset]
) -> None:
    whole, divided = load(), data.hold_out_validation(stream(way), 9)
    resident = data.hold_out_validation(whole, 9)
    assert divided.validation is not None
    assert resident.validation is not None
    assert isinstance(divided.validation.images, data.Column)
    for name in ("images", "labels"):
        held_out, expected = getattr(divided.validation, name), getattr(resident.validation, name)
        np.testing.assert_array_equal(np.asarray(held_out), expected)
    for left, right in zip(
        fit(divided.train, new_state(0), chunk_steps=4),
        fit(resident.train, new_state(0), chunk_steps=4),
        strict=True,
    ):
        assert_same(left, right)


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
    assert_same(resumed[-1], whole[-1])


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_read_the_same(
    way: str, stream: Callable[[str], data.Dataset], load: partial[data.Dataset]
) -> None:
    indices = np.array([3, 1, 4, 1, 5, 9, 2, -1, -9, 6, 39, 0])
    resident = load()
    column = stream(way).train.images
    assert isinstance(column, data.Column)
    with data.open_reader(column.split) as read:
        for part in (indices, indices[:1], indices[:0]):  # fewer than processes, and none
            images, labels = read(part, 20)
            assert (len(images), len(labels)) == (20, 20)
            places = np.where(part < 0, -1 - part, part)
            np.testing.assert_array_equal(images[: len(part)], resident.train.images[places])
            assert not images[len(part) :].any()
            if column.split.source.labeled:
                assert resident.train.labels is not None
                np.testing.assert_array_equal(labels[: len(part)], resident.train.labels[places])


@pytest.mark.slow
def test_processes_read_on_after_an_error() -> None:
    """Also what is larger than the buffer of a connection."""
    split = data.StreamedSplit(Numbers(200_000, bad=(0,)), workers=2)
    first, second = np.arange(100_000), np.arange(100_000, 200_000)
    # The reader closes first, so that a thread that hangs in it ends.
    with ThreadPoolExecutor(1) as thread, data.open_reader(split) as read:
        with pytest.raises(UserError, match="example 0 is bad"):
            thread.submit(read, first, 100_000).result(timeout=60)
        images, labels = thread.submit(read, second, 100_000).result(timeout=60)
    np.testing.assert_array_equal(images[:, 0], second)
    np.testing.assert_array_equal(labels, -second)


@pytest.mark.slow
def test_a_process_that_ends_is_one_error(
    stream: Callable[[str], data.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    column = stream("PNG, 2 processes").train.images
    assert isinstance(column, data.Column)
    monkeypatch.setattr(workers, "_PROGRAM", "")
    with (
        pytest.raises(UserError, match=r"one of 2 processes .* or give --workers 1;"),
        data.open_reader(column.split) as read,
    ):
        read(np.arange(4), 4)


@pytest.mark.slow
def test_a_process_ignores_an_interrupt_while_it_imports(tmp_path: Path) -> None:
    package = tmp_path / "jaxae" / "data"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "workers.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\nserve = lambda _: print('serves')"
    )
    command = [sys.executable, "-c", workers._PROGRAM, "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("serves\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 3000])
def test_a_stream_loads_pieces_of_bounded_size(
    size: int, load: partial[data.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default a piece is as small as needed, which changes no number."""
    split = load(stream=True).train
    assert isinstance(split.images, data.Column)
    order = jnp.asarray(np.random.default_rng(0).permutation(42).reshape(6, 7) % 40)
    monkeypatch.setattr(pieces, "_PIECE_BYTES", size * 28 * 28)
    bounds = pieces.piece_bounds(0, 2, 6, None)
    examples = Examples(split.images, split.labels)
    loaded = list(pieces.stream(examples, bounds, lambda epoch: order + 0 * epoch, None, None))
    assert [(piece.epoch, piece.start) for piece in loaded][:: len(loaded) // 2] == [(0, 0), (1, 0)]
    assert len(loaded) == (12 if size == 10 else 2)
    for piece in loaded:
        assert len(piece.examples.images) == max(7, min(size, 32 * 7) // 7 * 7)
        places = piece.order[: piece.stop - piece.start]
        expected = split.images[np.asarray(order[piece.start : piece.stop])]
        np.testing.assert_array_equal(piece.examples.images[places], expected)


def test_a_chunk_that_is_too_large_is_read_in_equal_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 3 * 5 * 4)  # three batches of five floats
    split = streaming.streamed(data.StreamedSplit(Numbers(40)))
    for steps, expected in ((8, [3, 3, 2]), (4, [2, 2, 2, 2]), (3, [3, 3, 2])):
        bounds = pieces.piece_bounds(0, 1, 8, steps)
        loaded = list(pieces.stream(Examples(split.images), bounds, in_turn, steps, None))
        assert [piece.stop - piece.start for piece in loaded] == expected
        assert {len(piece.examples.images) for piece in loaded} == {5 * max(expected)}


@pytest.mark.slow
def test_a_chunk_of_several_pieces_is_the_same_chunk(
    load: partial[data.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 2 * 7 * 28 * 28)  # two batches
    streamed = fit(load(stream=True).train, new_state(0), chunk_steps=4)
    resident = fit(load().train, new_state(0), chunk_steps=4)
    assert [(p.epoch, p.steps) for p in streamed] == [(1, 4), (1, 6), (2, 2), (2, 6)]
    for left, right in zip(streamed, resident, strict=True):
        assert_same(left, right)


def test_examples_have_the_labels_that_were_given(load: partial[data.Dataset]) -> None:
    split = load(stream=True).train
    for labels in (None, np.arange(40, dtype=np.int32)):
        bounds = pieces.piece_bounds(0, 1, 8, None)
        (piece,) = pieces.stream(Examples(split.images, labels), bounds, in_turn, 8, None)
        if labels is None:
            assert piece.examples.labels is None
        else:
            np.testing.assert_array_equal(piece.examples.labels, labels)


def test_an_error_while_reading_ahead_comes_after_the_steps_before_it() -> None:
    split = streaming.streamed(data.StreamedSplit(Numbers(40, bad=(25,))))  # in the third of four
    before = set(threading.enumerate())
    bounds = pieces.piece_bounds(0, 1, 8, 2)
    loaded = pieces.stream(Examples(split.images), bounds, in_turn, 2, None)
    assert [next(loaded).start, next(loaded).start] == [0, 2]
    with pytest.raises(UserError, match="example 25 is bad"):
        next(loaded)
    assert set(threading.enumerate()) <= before


def test_rows_are_read_without_preadv(
    load: partial[data.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    split, expected = load(stream=True).train, load().train.images
    monkeypatch.delattr(os, "preadv", raising=False)  # as on Windows
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    assert isinstance(split.images, data.Column)
    split.images.split.prefetch(np.arange(5))
    np.testing.assert_array_equal(split.images[[7, 0, 7]], expected[[7, 0, 7]])


def test_without_room_images_are_decoded_in_every_epoch_as_one_line_says(
    stream: Callable[[str], data.Dataset],
    load: partial[data.Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    load(stream=True)
    capsys.readouterr()
    streamed = stream("PNG, a thread")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "(it needs 0.3 GB, and 0.2 GB are free): decoding mnist in every epoch" in said
    assert streamed.fingerprint == load(stream=True).fingerprint


def test_streamed_examples_are_gathered_for_a_loop_of_ones_own() -> None:
    split = streaming.streamed(data.StreamedSplit(Numbers(10)))
    batch = train.gather(Examples(split.images, split.labels), jnp.array([7, 0, -3]))
    assert batch.labels is not None
    np.testing.assert_array_equal(batch.images, [[7.0], [0.0], [2.0]])
    np.testing.assert_array_equal(batch.labels, [-7, 0, -2])
    np.testing.assert_array_equal(batch.weights, [1.0, 1.0, 0.0])


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
