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
from jaxae.evaluate import classifier
from jaxae.evaluate.classifier import Classifier, ClassifierSettings
from jaxae.train import Batch
from support.small_run import compiled_once  # noqa: F401

pytestmark = pytest.mark.slow

SETTINGS = ClassifierSettings(
    channels=(8, 16), features=12, epochs=5, batch_size=50, learning_rate=5e-3
)
# A dense network, which compiles faster.
FEW = ClassifierSettings(channels=(), features=3, epochs=1)


def some_of(dataset: Dataset, train: int, test: int) -> Dataset:
    """The first images of a dataset."""

    def first(split: Split, count: int) -> Split:
        return Split(split.images[:count], split.labels[:count])

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
def small(tiny: Dataset) -> Classifier:
    return classifier.train(tiny, FEW)


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Classifier:
    return classifier.train(dataset, SETTINGS)


def test_the_classifier_learns(trained, dataset):
    assert trained.accuracy > 0.8
    probabilities = classifier.probabilities(trained, dataset.test.images)
    accuracy = np.mean(probabilities.argmax(axis=1) == dataset.test.labels)
    np.testing.assert_allclose(accuracy, trained.accuracy, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_features_lead_to_the_probabilities_and_are_not_negative(trained, dataset):
    images = dataset.test.images[:7]
    features = classifier.features(trained, images)
    assert features.shape == (7, 12)
    assert features.dtype == np.float32
    assert (features >= 0).all()
    head = trained.variables["params"]["head"]
    expected = jax.nn.softmax(features @ head["kernel"] + head["bias"][None])
    np.testing.assert_allclose(classifier.probabilities(trained, images), expected, atol=1e-5)


def test_features_do_not_depend_on_batches_or_the_dtype_of_pixels(trained, dataset, monkeypatch):
    images = dataset.test.images[:23]
    whole = classifier.features(trained, images)
    np.testing.assert_allclose(
        classifier.features(trained, (images / 255).astype(np.float32)), whole, atol=1e-5
    )
    monkeypatch.setattr(classifier, "_BATCH_SIZE", 10)
    np.testing.assert_allclose(classifier.features(trained, images), whole, atol=1e-5)


def test_the_digest_follows_from_dataset_and_settings(small, tiny):
    assert classifier.train(tiny, FEW).digest == small.digest
    assert classifier.train(tiny, replace(FEW, seed=1)).digest != small.digest


def test_cross_entropy_is_that_of_the_labels(small, tiny):
    images, labels = tiny.test.images[:9], tiny.test.labels[:9]
    batch = Batch(jnp.asarray(images), jnp.asarray(labels), None, jnp.ones(9))
    terms = classifier.cross_entropy(small.variables, jax.random.key(0), batch, model=small.model)
    expected = -np.log(classifier.probabilities(small, images)[np.arange(9), labels])
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-3, atol=1e-6)
    assert terms.metrics["accuracy"].shape == (9,)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments) -> Classifier:
        raise AssertionError("trained again")

    monkeypatch.setattr(classifier, "train", fail)


def test_a_cached_classifier_is_not_trained_again(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path)
    first = classifier.load_or_train(tiny, settings=FEW)
    (file,) = tmp_path.rglob("*.npz")
    assert not list(tmp_path.rglob("*.part"))
    forbid_training(monkeypatch)
    again = classifier.load_or_train(tiny, file.parent, FEW)
    for field in ("model", "shape", "accuracy", "digest", "dataset"):
        assert getattr(first, field) == getattr(again, field)
    np.testing.assert_array_equal(
        classifier.features(first, tiny.test.images), classifier.features(again, tiny.test.images)
    )
    for changed in (replace(tiny, fingerprint="other"), replace(tiny, name="a/b")):
        with pytest.raises(AssertionError, match="trained again"):
            classifier.load_or_train(changed, file.parent, FEW)
    with pytest.raises(AssertionError, match="trained again"):
        classifier.load_or_train(tiny, file.parent, replace(FEW, epochs=2))


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

    def train(*arguments) -> Classifier:
        trainings.append(arguments)
        return small

    monkeypatch.setattr(classifier, "train", train)
    classifier.load_or_train(tiny, tmp_path, FEW)
    (file,) = tmp_path.glob("*.npz")
    damage(file)
    assert classifier.load_or_train(tiny, tmp_path, FEW).digest == small.digest
    assert trainings == [(tiny, FEW)] * 2
    with np.load(file) as arrays:
        assert arrays["digest"].item() == small.digest


def test_without_a_writable_cache_it_is_trained(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert classifier.load_or_train(tiny, tmp_path / "file" / "folder", FEW).dataset == "few"

    def no_room(*arguments, **arrays) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", no_room)
    assert classifier.load_or_train(tiny, tmp_path / "full", FEW).dataset == "few"
    assert [path.suffix for path in (tmp_path / "full").iterdir()] == [".lock"]


def test_other_images_and_datasets_without_classes_are_refused(trained, tiny):
    images = tiny.test.images
    for wrong in (images[:, :20], images[..., 0], images[:0]):
        with pytest.raises(UserError, match=r"it reads \[N, 28, 28, 1\]"):
            classifier.features(trained, wrong)
    with pytest.raises(UserError, match="divide"):
        classifier.probabilities(trained, images.astype(np.float32))
    ragged: Any = [images[0], images[0, :2]]
    with pytest.raises(UserError, match="unequal shapes"):
        classifier.probabilities(trained, ragged)
    assert np.isfinite(classifier.features(trained, np.minimum(images[:3], 1))).all()
    with pytest.raises(UserError, match="two or more"):
        classifier.load_or_train(replace(tiny, class_names=("all",)), settings=FEW)
