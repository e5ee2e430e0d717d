"""Recipes for training a run, and the epochs that training yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
import optax

from jaxae import data, devices, objectives, train
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.network import Network, Trained
from jaxae.train import Examples, is_standardized


@dataclass(frozen=True)
class Recipe:
    """What to train, and how."""

    network: Network
    objective: train.Objective  # what training minimizes
    optimizer: optax.GradientTransformation
    # what tests measure, whose loss chooses the best checkpoint; None: the same objective
    test_objective: train.Objective | None = None
    examples: Examples | None = None  # for training; None: the dataset's
    test_examples: Examples | None = None  # None: the dataset's
    validation_examples: Examples | None = None  # None: the dataset's, if it holds any out
    test_batch_size: int = 500  # not the run's, so that test numbers of runs are comparable
    chunk_steps: int | None = None  # as in train.fit
    collections: train.Variables | None = None  # initial values of the objective's own
    # of the objective and the optimizer, which take them as values, as in train.fit
    numbers: Mapping[str, float] = field(default_factory=dict)
    settled_after: int = 0  # steps before which codes may be unused by design
    loss_unit: str = ""  # for the curves; empty if it has none or is not known

    @cached_property
    def standardized(self) -> bool:
        """Whether the network is trained on floats around 0; a dataset's images never are."""
        if self.examples is None:
            return False
        return is_standardized(self.examples.network_inputs)


def reconstruction_recipe(
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    per_pixel: bool = False,
) -> Recipe:
    """Returns the recipe of a plain autoencoder; change it with `dataclasses.replace`."""
    objective = objectives.make_reconstruction(network, per_pixel=per_pixel)
    unit = network.likelihood.loss_unit
    per = " per pixel" if unit and per_pixel else ""
    return Recipe(network, objective, optimizer, loss_unit=unit + per)


def check_range(likelihood: Likelihood, dataset: data.Dataset) -> None:
    """Raises `UserError` if a likelihood is of numbers in [0, 1] and the dataset has others."""
    images = dataset.train.images[:10_000]
    if not likelihood.bounded or images.dtype == np.uint8:
        return
    low, high = float(images.min()), float(images.max())
    if not 0 <= low <= high <= 1:
        raise UserError(
            f"the likelihood of this network is of numbers in [0, 1], and those of {dataset.name} "
            f"reach from {low:g} to {high:g}: give --scale minmax, or train with jaxae train and "
            "--likelihood gaussian_identity or gaussian_identity_learned; a likelihood of your own "
            "for any numbers has bounded=False"
        )


@dataclass(frozen=True)
class Epoch:
    """A finished epoch, or a checkpoint that was loaded instead."""

    number: int  # from 1
    state: train.State  # with a leading axis if there are replicas
    last: bool  # whether it is the last epoch of the run
    record: dict[str, Any]  # its numbers, as in metrics.jsonl
    recipe: Recipe

    @property
    def variables(self) -> train.Variables:
        """The variables for `model.apply`, of the first replica if there are several."""
        return first_replica(self.state)

    @property
    def trained(self) -> Trained:
        """The network after this epoch, which reconstructs, encodes and decodes."""
        recipe = self.recipe
        return Trained(recipe.network, self.variables, recipe.standardized)


def first_replica(state: train.State) -> train.Variables:
    """Returns a state's variables on one device, of its first replica if it has several.

    The parameters are averaged if its optimizer keeps an average.
    """
    variables = train.evaluation_variables(devices.local(state))
    return jax.tree.map(lambda leaf: leaf[0], variables) if state.step.ndim else variables


def of_split(split: data.Split) -> Examples:
    """Returns a dataset's split as examples; floats were checked when they were read."""
    return Examples(split.images, split.labels, any_range=split.images.dtype != np.uint8)
