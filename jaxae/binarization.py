"""Binarized images: drawn anew at each step, or once; those of a test set always once."""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax
import numpy as np

from jaxae import data, objectives, recipes, seeds
from jaxae.batches import Examples

Binarization = Literal["none", "dynamic", "static"]


def binarized_test(dataset: data.Dataset, binarization: Binarization) -> Examples:
    """A dataset's test images, binarized once, so that all epochs and runs see the same ones."""
    examples = recipes.of_split(dataset.test)
    if binarization == "none":
        return examples
    images = jax.jit(objectives.binarize)(seeds.fixed_keys().test_data, np.asarray(examples.images))
    return replace(examples, images=np.asarray(images))


def with_binarization(
    recipe: recipes.Recipe, dataset: data.Dataset, binarization: Binarization
) -> recipes.Recipe:
    """The recipe on binarized images: `dynamic` draws training pixels at each step, `static` once.

    Its objective on test images stays what it was.
    """
    if binarization == "none":
        return recipe
    recipe = replace(
        recipe,
        test_objective=recipe.test_objective or recipe.objective,
        test_examples=binarized_test(dataset, binarization),
    )
    if binarization == "dynamic":
        objective = partial(objectives.dynamically_binarized, objective=recipe.objective)
        return replace(recipe, objective=objective)
    examples = recipes.of_split(dataset.train)
    key = seeds.fixed_keys().train_data
    images = jax.jit(objectives.binarize)(key, np.asarray(examples.images))
    return replace(recipe, examples=replace(examples, images=images))
