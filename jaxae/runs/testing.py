"""Tests of a run: the same measurements of test images and, if there are any, validation images."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jaxae import devices, objectives, train
from jaxae.data import Column
from jaxae.runs import records
from jaxae.runs.folder import Run
from jaxae.runs.options import RunOptions
from jaxae.runs.recipes import Recipe, of_split
from jaxae.runs.seeds import fixed_keys
from jaxae.train import Examples


def is_due(shared: RunOptions, epoch: int) -> bool:
    """Returns whether an epoch is to be followed by a test."""
    return epoch % shared.evaluate_every == 0 or epoch == shared.epochs


def examples_of_tests(run: Run, recipe: Recipe) -> Examples:
    """Returns the recipe's test examples, or else those of the dataset."""
    return recipe.test_examples or of_split(run.dataset.test)


def make_test_record(run: Run, recipe: Recipe) -> Callable[[train.State], dict[str, Any]]:
    """Returns a function from a state to the validation and test numbers of its record.

    Both sets of images are kept on the devices, also those of a streamed dataset.
    """
    examples = {"test_": examples_of_tests(run, recipe)}
    validation = recipe.validation_examples
    if validation is None and run.dataset.validation is not None:
        validation = of_split(run.dataset.validation)
    if validation is not None:
        examples = {"validation_": _in_memory(validation), **examples}
    examples = {prefix: devices.put(each, run.mesh) for prefix, each in examples.items()}
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
        variables = train.evaluation_variables(train.with_numbers(state, recipe.numbers))
        record = {}
        for prefix, each in examples.items():
            measured = evaluate(variables, fixed_keys().evaluation, each)
            record |= records.flatten_replicas(prefix, measured)
        return record

    return test_record


def _in_memory(examples: Examples) -> Examples:
    """Returns examples whose images and labels are read if they are on disk."""
    images, labels = (
        np.asarray(column) if isinstance(column, Column) else column
        for column in (examples.images, examples.labels)
    )
    assert images is not None
    return replace(examples, images=images, labels=labels)
