"""Tests of a network after an epoch: on which examples, and what is recorded."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxae import devices, objectives, train
from jaxae.runs import records
from jaxae.runs.folder import Run
from jaxae.runs.options import RunOptions
from jaxae.runs.recipes import Recipe, of_split
from jaxae.runs.seeds import fixed_keys
from jaxae.train import Examples


def is_tested(shared: RunOptions, epoch: int) -> bool:
    """Returns whether an epoch is followed by a test."""
    return epoch % shared.evaluate_every == 0 or epoch == shared.epochs


def examples_of_tests(run: Run, recipe: Recipe) -> Examples:
    """Returns the recipe's test examples, or else those of the dataset."""
    return recipe.test_examples or of_split(run.dataset.test)


def make_test_record(run: Run, recipe: Recipe) -> Callable[[train.State], dict[str, Any]]:
    """Returns a function from a state to the test numbers of its record."""
    test_examples = devices.put(examples_of_tests(run, recipe), run.mesh)
    evaluate = train.make_evaluation(
        partial(
            objectives.with_image_errors,
            objective=recipe.test_objective or recipe.objective,
            network=recipe.network,
        ),
        recipe.test_batch_size,
        replicas=run.shared.replicas > 1,
        mesh=run.mesh,
    )

    def test_record(state: train.State) -> dict[str, Any]:
        test = evaluate(train.evaluation_variables(state), fixed_keys().evaluation, test_examples)
        return records.flatten_replicas("test_", test)

    return test_record
