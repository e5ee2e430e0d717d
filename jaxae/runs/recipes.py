"""What a run trains and how, and the epochs that come of it."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import optax

from jaxae import data, devices, objectives, train
from jaxae.network import Network, Trained
from jaxae.train import Examples, is_standardized


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    network: Network
    objective: train.Objective  # what training minimizes
    optimizer: optax.GradientTransformation
    test_objective: train.Objective | None = None  # None: the same; chooses the best checkpoint
    examples: Examples | None = None  # for training; None: the dataset's
    test_examples: Examples | None = None  # None: the dataset's
    test_batch_size: int = 500  # not the run's, so that test numbers of any two runs compare
    chunk_steps: int | None = None  # as in train.fit
    collections: train.Variables | None = None  # the objective's own, as they are at first

    @cached_property
    def standardized(self) -> bool:
        """Whether the network reads floats around 0 in training, which a dataset's never are."""
        if self.examples is None:
            return False
        return is_standardized(self.examples.network_inputs)


def reconstruction_recipe(
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    per_pixel: bool = False,
) -> Recipe:
    """The recipe of a plain autoencoder; `dataclasses.replace` changes the rest of it."""
    objective = partial(objectives.reconstruction, network=network, per_pixel=per_pixel)
    return Recipe(network, objective, optimizer)


@dataclass(frozen=True)
class Epoch:
    """A finished epoch, or the checkpoint that was loaded in its place."""

    number: int  # from 1
    state: train.State  # with a leading axis if there are replicas
    last: bool  # of the run
    record: dict[str, Any]  # what is known of it, as in metrics.jsonl
    recipe: Recipe

    @property
    def variables(self) -> train.Variables:
        """What `model.apply` takes; of the first replica if there are several."""
        return first_replica(self.state)

    @property
    def trained(self) -> Trained:
        """The network as it is now, which reconstructs, encodes and decodes."""
        recipe = self.recipe
        return Trained(recipe.network, self.variables, recipe.standardized)


def first_replica(state: train.State) -> train.Variables:
    """The variables of a state on one device, of its first replica if it has several."""
    variables = devices.local(train.variables_of(state))
    return jax.tree.map(lambda leaf: leaf[0], variables) if state.step.ndim else variables


def of_split(split: data.Split) -> Examples:
    """A dataset's split as examples."""
    return Examples(split.images, split.labels)
