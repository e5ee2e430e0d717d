"""Binarized images: training images at each step or once, all others always once."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np

from jaxae import data, objectives
from jaxae.data import Column
from jaxae.errors import UserError
from jaxae.runs import seeds
from jaxae.runs.options import Binarization
from jaxae.runs.recipes import Recipe, of_split
from jaxae.train import Examples


def binarized_test(dataset: data.Dataset) -> Examples:
    """Returns the test images binarized once, so that all epochs and runs see the same ones."""
    return _binarize_once(dataset.test, seeds.fixed_keys().test_data)


def binarized_train(dataset: data.Dataset) -> Examples:
    """Returns the training images binarized once."""
    return _binarize_once(dataset.train, seeds.fixed_keys().train_data)


def binarized_validation(dataset: data.Dataset) -> Examples | None:
    """Returns the validation images binarized once, with a key of their own; None without any."""
    if dataset.validation is None:
        return None
    return _binarize_once(dataset.validation, seeds.fixed_keys().validation_data)


def _binarize_once(split: data.Split, key: jax.Array) -> Examples:
    """Returns a split as examples whose pixels are 0 or 255."""
    images = jax.jit(objectives.binarize)(key, np.asarray(split.images))
    return replace(of_split(split), images=np.asarray(images))


def with_binarization(recipe: Recipe, dataset: data.Dataset, binarization: Binarization) -> Recipe:
    """Returns a recipe for binarized images.

    `dynamic` draws the training pixels at each step, `static` draws them once. Validation and test
    images are always binarized once, and the test objective stays the same. Raises `UserError` if
    streamed training images would have to be binarized once.
    """
    if binarization == "none":
        return recipe
    if binarization == "static" and isinstance(dataset.train.images, Column):
        raise UserError(
            "--binarization static with --stream: images binarized once are kept in memory; "
            "give --binarization dynamic, or --no-stream"
        )
    recipe = replace(
        recipe,
        test_objective=recipe.test_objective or recipe.objective,
        test_examples=binarized_test(dataset),
        validation_examples=binarized_validation(dataset),
    )
    if binarization == "dynamic":
        objective = partial(objectives.dynamically_binarized, objective=recipe.objective)
        return replace(recipe, objective=objective)
    return replace(recipe, examples=binarized_train(dataset))
