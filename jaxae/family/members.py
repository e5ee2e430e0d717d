"""What a member of the family is, and the ways to make its network and its objective."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import flax.linen as nn

from jaxae import models, objectives
from jaxae.family.settings import Setting, Settings
from jaxae.models import Design, limited_scale
from jaxae.network import Network
from jaxae.train import Objective, Variables


@dataclass(frozen=True)
class Context:
    """What an objective is made from."""

    network: Network
    images: int  # for training, how many there are
    settings: Settings


@dataclass(frozen=True)
class Member:
    """One autoencoder of the family."""

    summary: str
    reference: str
    formula: str  # of the loss, in the metrics and settings of its objective
    make_objective: Callable[[Context], Objective]
    make_model: Callable[[Design, int, Settings], nn.Module]  # the int: classes of the dataset
    settings: Mapping[str, Setting] = field(default_factory=dict)  # of the objective
    model_settings: Mapping[str, Setting] = field(default_factory=dict)
    prior: Literal["normal", "mixture", "resample"] = "normal"  # where new codes come from
    collections: Callable[[], Variables] | None = None  # of the objective, as they are at first

    @property
    def all_settings(self) -> Mapping[str, Setting]:
        """Those of the network, and those of the objective."""
        return {**self.model_settings, **self.settings}


# Networks.


def make_plain(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code that is a function of the image."""
    del classes, settings
    return models.Autoencoder(*models.make_pair(design, design.latent))


def make_sigmoid_code(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code between 0 and 1, whose numbers are rates."""
    del classes, settings
    pair = models.make_pair(design, design.latent, latent_activation=nn.sigmoid)
    return models.Autoencoder(*pair)


def make_top_k(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code of which all but the largest numbers are 0."""
    del classes
    pair = models.make_pair(design, design.latent)
    return models.Autoencoder(*pair, bottleneck=models.TopK(settings["active"]))


def make_variational(
    design: Design, classes: int, settings: Settings
) -> models.VariationalAutoencoder:
    """A Gaussian posterior over codes."""
    del classes, settings
    return models.VariationalAutoencoder(*models.make_pair(design, 2 * design.latent))


def make_conditional(
    design: Design, classes: int, settings: Settings
) -> models.VariationalAutoencoder:
    """A Gaussian posterior, and a decoder, that know the class."""
    del settings
    pair = models.make_pair(design, 2 * design.latent)
    return models.VariationalAutoencoder(*pair, classes=classes)


def make_vector_quantized(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code of vectors from a codebook; convolutional ones have a map of them."""
    del classes
    pair = models.make_pair(design, design.latent, maps=True)
    quantizer = models.VectorQuantizer(settings["codebook"], settings["dimension"])
    return models.Autoencoder(*pair, bottleneck=quantizer)


def make_scalar_quantized(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code of a few levels a number; convolutional ones have a map of them.

    Without a limit all features drift together to where the bound is flat, and one code remains.
    """
    del classes
    pair = models.make_pair(design, design.latent, latent_activation=limited_scale, maps=True)
    return models.Autoencoder(*pair, bottleneck=models.FiniteScalarQuantizer(settings["levels"]))


# Objectives.


def objective_maker(objective: Callable[..., Any]) -> Callable[[Context], Objective]:
    """An objective that takes a network and its settings."""

    def make(context: Context) -> Objective:
        return partial(objective, network=context.network, **context.settings)

    return make


def denoising_maker(corrupt: Callable[..., Any]) -> Callable[[Context], Objective]:
    """Reconstruction from inputs that a function with the settings corrupts."""

    def make(context: Context) -> Objective:
        reconstruction = partial(objectives.reconstruction, network=context.network)
        return partial(
            objectives.denoising,
            objective=reconstruction,
            corrupt=partial(corrupt, **context.settings),
        )

    return make


def beta_tc(context: Context) -> Objective:
    """Its estimate of q(z) needs the number of training images."""
    return objective_maker(partial(objectives.beta_tc, size=context.images))(context)
