"""The classifier behind FID and similar figures: it learns, is reproducible, and is cached."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import data, files
from jaxae.data import Dataset, Split, assemble
from jaxae.errors import UserError
from jaxae.evaluate import classifier, extractors, make_images
from jaxae.evaluate.extractors import NetworkSettings, Task, TrainedExtractor
from jaxae.evaluate.images import take
from jaxae.train import Batch
from support.small_run import compiled_once  # noqa: F401

pytestmark = pytest.mark.slow

SETTINGS = NetworkSettings(
    channels=(8, 16), features=12, epochs=5, batch_size=50, learning_rate=5e-3
)
# A dense network, which compiles faster.
FEW = NetworkSettings(channels=(), features=3, epochs=1)


def task_of(dataset: Dataset, settings: NetworkSettings) -> Task:
    """The task of telling a dataset's classes apart."""
    return classifier.make_task(make_images(dataset, "none"), settings)


def some_of(dataset: Dataset, train: int, test: int) -> Dataset:
    """The first images of a dataset."""

    def first(split: Split, count: int) -> Split:
        return take(split, slice(count))

    return assemble(
        "few", first(dataset.train, train), first(dataset.test, test), dataset.class_names
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return some_of(data.load("mnist_mini"), 1200, 300)


@pytest.fixture(scope="module")
def tiny(dataset: Dataset) -> Dataset:
    return some_of(dataset, 60, 20)


@pytest.fixture(scope="module")
def small(tiny: Dataset) -> TrainedExtractor:
    return extractors.train(task_of(tiny, FEW))


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> TrainedExtractor:
    return extractors.train(task_of(dataset, SETTINGS))


def test_the_classifier_learns(trained, dataset):
    assert trained.accuracy > 0.8
    probabilities = classifier.probabilities(trained, trained.features(dataset.test.images))
    accuracy = np.mean(probabilities.argmax(axis=1) == dataset.test.labels)
    np.testing.assert_allclose(accuracy, trained.accuracy, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_features_lead_to_the_probabilities_and_are_not_negative(trained, dataset):
    images = dataset.test.images[:7]
    features = trained.features(images)
    assert features.shape == (7, 12)
    assert features.dtype == np.float32
    assert (features >= 0).all()
    head = trained.variables["params"]["head"]
    expected = jax.nn.softmax(features @ head["kernel"] + head["bias"][None])
    np.testing.assert_allclose(classifier.probabilities(trained, features), expected, atol=1e-5)


def test_features_do_not_depend_on_batches_or_the_dtype_of_pixels(trained, dataset, monkeypatch):
    images = dataset.test.images[:23]
    whole = trained.features(images)
    np.testing.assert_allclose(
        trained.features((images / 255).astype(np.float32)), whole, atol=1e-5
    )
    monkeypatch.setattr(extractors, "_BATCH_SIZE", 10)
    np.testing.assert_allclose(trained.features(images), whole, atol=1e-5)


def test_the_digest_follows_from_dataset_and_settings(small, tiny):
    assert extractors.train(task_of(tiny, FEW)).digest == small.digest
    assert extractors.train(task_of(tiny, replace(FEW, seed=1))).digest != small.digest


def test_cross_entropy_is_that_of_the_labels(small, tiny):
    images, labels = tiny.test.images[:9], tiny.test.labels[:9]
    batch = Batch(jnp.asarray(images), jnp.asarray(labels), None, jnp.ones(9))
    terms = classifier.cross_entropy(
        small.variables, jax.random.key(0), batch, model=small.task.model
    )
    probabilities = classifier.probabilities(small, small.features(images))
    expected = -np.log(probabilities[np.arange(9), labels])
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-3, atol=1e-6)
    assert terms.metrics["accuracy"].shape == (9,)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments) -> TrainedExtractor:
        raise AssertionError("trained again")

    monkeypatch.setattr(extractors, "train", fail)


def test_a_cached_classifier_is_not_trained_again(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path)
    first = extractors.load_or_train(task_of(tiny, FEW))
    (file,) = tmp_path.rglob("*.npz")
    assert not list(tmp_path.rglob("*.part"))
    forbid_training(monkeypatch)
    again = extractors.load_or_train(task_of(tiny, FEW), file.parent)
    assert (again.accuracy, again.digest, again.kind) == (
        first.accuracy,
        first.digest,
        "classifier",
    )
    images = tiny.test.images
    np.testing.assert_array_equal(first.features(images), again.features(images))
    for changed in (replace(tiny, fingerprint="other"), replace(tiny, name="a/b")):
        with pytest.raises(AssertionError, match="trained again"):
            extractors.load_or_train(task_of(changed, FEW), file.parent)
    with pytest.raises(AssertionError, match="trained again"):
        extractors.load_or_train(task_of(tiny, replace(FEW, epochs=2)), file.parent)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-300])


def change_a_parameter(file: Path) -> None:
    with np.load(file) as arrays:
        contents = dict(arrays)
    contents["params/head/bias"] += 1
    np.savez(file, **contents)


def change_a_byte(file: Path) -> None:
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 255
    file.write_bytes(contents)


def leave_nothing(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, change_a_parameter, change_a_byte, leave_nothing])
def test_a_damaged_classifier_is_trained_again(damage, small, tiny, tmp_path, monkeypatch):
    trainings = []

    def train(*arguments) -> TrainedExtractor:
        trainings.append(arguments)
        return small

    monkeypatch.setattr(extractors, "train", train)
    task = task_of(tiny, FEW)
    extractors.load_or_train(task, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    damage(file)
    assert extractors.load_or_train(task, tmp_path).digest == small.digest
    assert trainings == [(task,)] * 2
    with np.load(file) as arrays:
        assert arrays["digest"].item() == small.digest


def test_without_a_writable_cache_it_is_trained(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    task = task_of(tiny, FEW)
    assert extractors.load_or_train(task, tmp_path / "file" / "folder").task == task

    def no_room(*arguments, **arrays) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", no_room)
    assert extractors.load_or_train(task, tmp_path / "full").task == task
    assert [path.suffix for path in (tmp_path / "full").iterdir()] == [".lock"]


def test_other_images_are_refused(trained, tiny):
    images = tiny.test.images
    for wrong in (images[:, :20], images[..., 0], images[:0]):
        with pytest.raises(UserError, match=r"it reads \[N, 28, 28, 1\]"):
            trained.features(wrong)
    with pytest.raises(UserError, match="NaN"):
        trained.features(np.full_like(images, np.nan, np.float32))
    ragged: Any = [images[0], images[0, :2]]
    with pytest.raises(UserError, match="unequal shapes"):
        trained.features(ragged)
    assert np.isfinite(trained.features(np.minimum(images[:3], 1))).all()


@pytest.mark.parametrize("labels", [None, 0, -1])
def test_a_classifier_needs_labels_of_two_classes(tiny, labels):
    train, test = (
        Split(split.images, None if labels is None else np.full(len(split.images), labels))
        for split in (tiny.train, tiny.test)
    )
    with pytest.raises(UserError, match="no two classes with labels"):
        task_of(replace(tiny, train=train, test=test), FEW)


def test_examples_of_unknown_class_are_left_out(tiny):
    labels = np.where(np.arange(60) % 3 == 0, -1, tiny.train.labels)
    partly = replace(tiny, train=Split(tiny.train.images, labels))
    known = Split(tiny.train.images[labels >= 0], labels[labels >= 0])
    few, all_known = (
        extractors.train(task_of(each, FEW)) for each in (partly, replace(tiny, train=known))
    )
    assert few.digest == all_known.digest


@pytest.mark.parametrize(
    ("chance", "count", "accuracy", "good"),
    [
        (0.1, 10_000, 0.12, False),  # no luck, but hardly better than a guess
        (0.1, 10_000, 0.20, True),
        (0.1, 30, 0.30, False),  # luck: a standard error is 0.055
        (0.1, 30, 0.34, True),
        (0.95, 2000, 0.97, True),  # two fifths of the errors
        (0.95, 2000, 0.953, False),
        (1.0, 100, 1.0, False),  # one class alone
    ],
)
def test_a_classifier_is_good_if_neither_luck_nor_the_largest_class_explains_it(
    small, chance, count, accuracy, good
):
    labels = np.where(np.arange(count) < round(chance * count), 0, 1 + np.arange(count) % 9)
    examples = replace(small.task.test_examples, images=np.zeros((count, 1)), labels=labels)
    judged = replace(small, task=replace(small.task, test_examples=examples), accuracy=accuracy)
    assert classifier.chance(judged) == pytest.approx(chance)
    assert classifier.is_good(judged) == good


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.15, 0.05), (0.1,) * 10])
def test_a_classifier_of_random_labels_is_never_good(dataset, shares, seed):
    random = np.random.default_rng(seed)
    train, test = (
        Split(split.images, random.choice(len(shares), len(split.images), p=shares))
        for split in (dataset.train, dataset.test)
    )
    names = tuple(map(str, range(10)))
    few = assemble("random", train, test, names)
    task = task_of(few, replace(SETTINGS, channels=(), epochs=2))
    assert not classifier.is_good(extractors.train(task))


def test_a_classifier_of_true_labels_is_good(trained):
    assert classifier.is_good(trained)
