"""Networks of a user's own, with batch normalization and dropout: trained, resumed and loaded."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import checkpoint, data, likelihoods, models, objectives, runs, train
from jaxae.errors import UserError
from jaxae.network import Network
from support import normalized, small_run
from support.small_run import go, lines_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data

NETWORK = Network(normalized.Normalized((28, 28, 1)), likelihoods.BERNOULLI)


def change(recipe: runs.Recipe, **options: Any) -> runs.Recipe:
    """Trains the network instead of the recipe's; it is tested as it is used."""
    return replace(
        recipe,
        network=NETWORK,
        objective=normalized.objective_of(NETWORK, **options),
        test_objective=partial(objectives.reconstruction, network=NETWORK),
    )


def assert_close(tree: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), tree, expected)


def variables_of(epoch: runs.Epoch) -> dict[str, Any]:
    return dict(train.variables_of(epoch.state))


def test_resumed_equals_uninterrupted_and_is_saved(tmp_path: Path) -> None:
    *_, whole = go(out=tmp_path / "whole", epochs=2, change=change)
    go(out=tmp_path / "part", epochs=1, change=change)
    *_, resumed = go(resume=tmp_path / "part", epochs=2, change=change)
    assert_close(variables_of(resumed), variables_of(whole))
    for line, other in zip(*(lines_of(tmp_path / name) for name in ("part", "whole")), strict=True):
        assert line == pytest.approx(other)
    mean = variables_of(whole)["batch_stats"]["norm"]["mean"]
    assert jnp.abs(mean).max() > 1e-2
    saved = checkpoint.load_variables(tmp_path / "whole" / "checkpoints")
    assert_close(saved, variables_of(whole), rtol=0, atol=0)


def test_it_is_tested_and_used_with_the_running_statistics(tmp_path: Path) -> None:
    (epoch,) = go(out=tmp_path / "run", epochs=1, change=change)
    images = data.load("mnist").test.images
    logits: Any = NETWORK.model.apply(epoch.variables, images / np.float32(255), train=False)
    expected = jax.nn.sigmoid(logits)
    np.testing.assert_allclose(epoch.trained.reconstruct(images), expected, atol=1e-6)
    assert epoch.record["test_mse"] == pytest.approx(
        np.square(expected - images / 255).mean(), rel=1e-5
    )


def test_replicas_equal_separate_runs(tmp_path: Path) -> None:
    *_, together = go(out=tmp_path / "both", replicas=2, seed=3, epochs=2, change=change)
    for index, seed in enumerate((3, 4)):
        *_, alone = go(out=tmp_path / str(seed), seed=seed, epochs=2, change=change)
        replica = jax.tree.map(lambda leaf, i=index: leaf[i], variables_of(together))
        assert_close(replica, variables_of(alone), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"returned": lambda changed, variables: {}},
            r"change the collection batch_stats, and does not return it: .*\"batch_stats\"\]",
        ),
        ({"mutable": ()}, r"\"batch_stats\" is immutable\): write y, changed = model\.apply"),
        (
            {"returned": lambda changed, variables: changed["batch_stats"]},
            "a collection called norm, which the state does not hold",
        ),
    ],
)
def test_an_objective_that_loses_a_collection_is_told_before_anything_is_written(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        go(out=tmp_path / "run", epochs=1, change=partial(change, **options))
    assert not (tmp_path / "run").exists()


def keep(changed: train.Variables, variables: train.Variables) -> train.Variables:
    """Returns the collections as they were."""
    return {name: variables[name] for name in changed}


def test_a_collection_may_be_constant(tmp_path: Path) -> None:
    (epoch,) = go(out=tmp_path / "run", epochs=1, change=partial(change, returned=keep))
    assert jnp.all(variables_of(epoch)["batch_stats"]["norm"]["mean"] == 0)


@pytest.mark.parametrize("method", ["make_step", "make_epoch"])
def test_a_step_and_an_epoch_also_tell(method: str) -> None:
    optimizer = optax.sgd(0.1)
    objective = normalized.objective_of(NETWORK, returned=lambda changed, variables: {})
    state = runs.seeded_state(0, model=NETWORK.model, optimizer=optimizer, shape=(28, 28, 1))
    images = jnp.zeros((4, 28, 28, 1))
    arguments: dict[str, tuple[Callable[..., Any], Any]] = {
        "make_step": (
            train.make_step(objective, optimizer),
            train.Batch(images, None, None, jnp.ones(4)),
        ),
        "make_epoch": (train.make_epoch(objective, optimizer, 2), train.Examples(images)),
    }
    function, examples = arguments[method]
    with pytest.raises(UserError, match="does not return it"):
        function(state, examples)


def test_a_codebook_that_no_objective_changes_is_constant() -> None:
    """`reconstruction` of a network whose vectors have no gradient leaves them as they are."""
    model = models.Autoencoder(
        models.DenseEncoder((8,), 4),
        models.DenseDecoder((8,), (28, 28, 1)),
        models.VectorQuantizer(8, 2),
    )
    optimizer = optax.sgd(0.1)
    state = runs.seeded_state(0, model=model, optimizer=optimizer, shape=(28, 28, 1))
    objective = partial(objectives.reconstruction, network=Network(model, likelihoods.BERNOULLI))
    epoch = train.make_epoch(objective, optimizer, 2)
    end, _ = epoch(state, train.Examples(np.full((4, 28, 28, 1), 9, np.uint8)))
    jax.tree.map(np.testing.assert_array_equal, end.collections, state.collections)
