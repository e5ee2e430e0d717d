"""What the page of an exploration shows: dimensions, class means, new codes, and errors."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import data, evaluate, likelihoods
from jaxae.errors import UserError
from jaxae.explore import Exploration, explore
from jaxae.explore import exploration as exploration_module
from jaxae.network import Network, Trained
from support.explored import CLASSES, exploration_of, images_of, untrained

SHAPE = (8, 6, 1)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained() -> Trained:
    return untrained("vae", SHAPE)


@pytest.fixture(scope="module")
def exploration(trained: Trained) -> Exploration:
    return exploration_of(trained, SHAPE)


def test_codes_pictures_and_labels_are_those_of_test_images(
    trained: Trained, exploration: Exploration
) -> None:
    test = images_of(SHAPE).test
    np.testing.assert_array_equal(exploration.codes, trained.encode(test.images))
    np.testing.assert_array_equal(exploration.pictures, test.images)
    np.testing.assert_array_equal(exploration.labels, test.labels)
    np.testing.assert_array_equal(exploration.numbers, np.arange(40))


def test_dimensions_are_sorted_by_their_kl(trained: Trained, exploration: Exploration) -> None:
    images = images_of(SHAPE)
    posterior = trained.network.posterior(trained.variables, jnp.asarray(images.test.images))
    mean, variance = np.asarray(posterior.mean), np.exp(np.asarray(posterior.log_variance))
    kl = ((mean**2 + variance - np.log(variance) - 1) / 2).mean(axis=0)
    codes = trained.encode(images.train.images)
    dimensions = exploration.dimensions
    assert dimensions.scored_by == "KL"
    active = np.flatnonzero(codes.var(axis=0) > 0.01)
    order = sorted(active, key=lambda n: -kl[n])
    assert [each.index for each in dimensions.shown] == order
    assert (dimensions.active, dimensions.all) == (len(order), 8)
    for each in dimensions.shown:
        np.testing.assert_allclose(each.score, kl[each.index], rtol=1e-4)
        np.testing.assert_allclose(each.mean, codes[:, each.index].mean(), rtol=1e-4)
        np.testing.assert_allclose(each.deviation, codes[:, each.index].std(), rtol=1e-4)


def test_class_means_are_of_training_codes(trained: Trained, exploration: Exploration) -> None:
    train = images_of(SHAPE).train
    assert train.labels is not None
    assert exploration.class_means is not None
    codes = trained.encode(train.images)
    expected = [codes[train.labels == label].mean(axis=0) for label in range(CLASSES)]
    np.testing.assert_allclose(exploration.class_means, expected, rtol=1e-5)


def test_each_prior_gives_codes(exploration: Exploration) -> None:
    assert [new.prior for new in exploration.new_codes] == ["normal", "mixture", "flow"]
    assert all(new.codes.shape == (200, 8) for new in exploration.new_codes)


def test_codes_of_a_quantized_network_are_resampled() -> None:
    exploration = exploration_of(untrained("fsq", (8, 8, 1), kind="conv", hidden=(4, 4)), (8, 8, 1))
    assert [new.prior for new in exploration.new_codes] == ["resample"]
    assert exploration.dimensions.scored_by == "variance"
    assert exploration.dimensions.shown[0].name.count(",") == 2  # a row, a column and a channel


def test_large_images_are_fewer_and_shrunk() -> None:
    shape = (256, 192, 3)
    exploration = exploration_of(untrained("rae-l2", shape, hidden=(4,)), shape, count=40)
    assert len(exploration.codes) == 2**22 // (256 * 192 * 3)
    assert exploration.pictures.shape[1:] == (64, 48, 3)


def test_images_of_large_codes_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploration_module, "_CODE_NUMBERS", 8 * 17 + 3)
    assert len(exploration_of(untrained("rae-l2", SHAPE), SHAPE).codes) == 17


def test_there_are_sliders_for_the_first_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploration_module, "_MOST_SLIDERS", 3)
    dimensions = exploration_of(untrained("rae-l2", SHAPE), SHAPE).dimensions
    assert len(dimensions.shown) == 3
    assert dimensions.active == dimensions.all == 8


def test_images_keep_their_numbers_where_labels_are_missing() -> None:
    images = images_of(SHAPE)
    labels = np.where(np.arange(40) < 5, -1, np.arange(40) % CLASSES).astype(np.int32)
    test = data.Split(images.test.images, labels)
    images = replace(images, test=test, dataset=replace(images.dataset, test=test))
    exploration = explore(untrained("conditional", SHAPE), images, title="", subtitle="")
    np.testing.assert_array_equal(exploration.numbers, np.arange(5, 40))
    np.testing.assert_array_equal(exploration.labels, labels[5:])


def test_vectors_are_refused() -> None:
    train, test = (data.Split(np.ones((5, 4), np.float32), None) for _ in range(2))
    images = evaluate.make_images(data.assemble("table", train, test, ()), "none")
    trained = untrained("vae", (4,), likelihood="gaussian_identity")
    with pytest.raises(UserError, match="vectors, which have no pictures"):
        explore(trained, images, title="", subtitle="")


def test_a_likelihood_of_ones_own_is_refused(trained: Trained) -> None:
    own = replace(likelihoods.BERNOULLI, image=lambda logits: logits)
    network = Network(trained.network.model, own)
    with pytest.raises(UserError, match="the likelihood is one of your own"):
        exploration_of(replace(trained, network=network), SHAPE)


@pytest.mark.parametrize(
    ("part", "factor"), [("encoder", np.nan), ("decoder", np.nan), ("encoder", 1e4)]
)
def test_a_run_that_diverged_is_refused(part: str, factor: float) -> None:
    """With 1e4, codes are finite but the variances of their posteriors are not."""
    trained = untrained("vae", SHAPE, hidden=(4,))
    variables: Any = jax.tree.map(lambda leaf: leaf, trained.variables)
    layer = variables["params"][part]["Dense_1"]
    layer["kernel"] = layer["kernel"] * np.float32(factor)
    with pytest.raises(UserError, match="NaN or infinite: give a run that did not diverge"):
        exploration_of(replace(trained, variables=variables), SHAPE)
