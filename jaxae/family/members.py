"""The members of the family, and functions that make their networks and objectives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import flax.linen as nn

from jaxae import models, objectives
from jaxae.errors import UserError
from jaxae.family.settings import Setting, Settings
from jaxae.models import Design, limited_scale
from jaxae.network import Network
from jaxae.train import Objective, Variables


@dataclass(frozen=True)
class Context:
    """The inputs from which a member makes its objective."""

    network: Network
    images: int  # the number of training images
    settings: Settings


@dataclass(frozen=True)
class Member:
    """One autoencoder of the family."""

    summary: str
    reference: str
    formula: str  # of the loss, in terms of the objective's metrics and settings
    make_objective: Callable[[Context], Objective]
    make_model: Callable[[Design, int, Settings], nn.Module]  # the int: the number of classes
    settings: Mapping[str, Setting] = field(default_factory=dict)  # of the objective
    model_settings: Mapping[str, Setting] = field(default_factory=dict)
    prior: Literal["normal", "mixture", "resample"] = "normal"  # of new codes
    collections: Callable[[], Variables] | None = None  # makes the objective's initial ones

    @property
    def all_settings(self) -> Mapping[str, Setting]:
        """The settings of the network and of the objective."""
        return {**self.model_settings, **self.settings}

    @property
    def variational(self) -> bool:
        """Whether its codes have a posterior, and its objective a KL term and a `kl_weight`."""
        return self.make_model in (make_variational, make_conditional)


# Networks.


def make_plain(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """Makes a network whose code is a function of the image."""
    del classes, settings
    return models.Autoencoder(*models.make_pair(design, design.latent))


def make_sigmoid_code(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """Makes a network whose codes are rates between 0 and 1."""
    del classes, settings
    pair = models.make_pair(design, design.latent, latent_activation=nn.sigmoid)
    return models.Autoencoder(*pair)


def make_top_k(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """Makes a network that sets all but the largest numbers of a code to 0."""
    del classes
    pair = models.make_pair(design, design.latent)
    return models.Autoencoder(*pair, bottleneck=models.TopK(settings["active"]))


def make_variational(
    design: Design, classes: int, settings: Settings
) -> models.VariationalAutoencoder:
    """Makes a network with a Gaussian posterior over codes."""
    del classes, settings
    return models.VariationalAutoencoder(*models.make_pair(design, 2 * design.latent))


def make_conditional(
    design: Design, classes: int, settings: Settings
) -> models.VariationalAutoencoder:
    """Makes a network whose Gaussian posterior and decoder both depend on the class.

    Raises `UserError` if the dataset has no classes.
    """
    del settings
    if classes < 1:
        raise UserError(
            "--objective conditional was given for a dataset without labels: choose vae, which "
            "needs none, or give data with a label for each example"
        )
    pair = models.make_pair(design, 2 * design.latent)
    return models.VariationalAutoencoder(*pair, classes=classes)


def make_vector_quantized(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """Makes a network whose codes are vectors from a codebook, or maps of them if convolutional."""
    del classes
    pair = models.make_pair(design, design.latent, maps=True)
    quantizer = models.VectorQuantizer(settings["codebook"], settings["dimension"])
    return models.Autoencoder(*pair, bottleneck=quantizer)


def make_scalar_quantized(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """Makes a network whose codes are numbers with a few levels each, or maps if convolutional.

    The scale of the features is limited: without a limit, they all drift to where the quantizer's
    bound is flat, and a single code remains.
    """
    del classes
    pair = models.make_pair(design, design.latent, latent_activation=limited_scale, maps=True)
    return models.Autoencoder(*pair, bottleneck=models.FiniteScalarQuantizer(settings["levels"]))


# Objectives.


def objective_maker(objective: Callable[..., Any]) -> Callable[[Context], Objective]:
    """Returns a maker of an objective that takes a network and settings."""

    def make(context: Context) -> Objective:
        return partial(objective, network=context.network, **context.settings)

    return make


def make_reconstruction(context: Context) -> Objective:
    """Makes the reconstruction objective, which has no settings."""
    return objectives.make_reconstruction(context.network)


def denoising_maker(corrupt: Callable[..., Any]) -> Callable[[Context], Objective]:
    """Returns a maker of the denoising objective with a corruption that takes the settings."""

    def make(context: Context) -> Objective:
        reconstruction = partial(objectives.reconstruction, network=context.network)
        return partial(
            objectives.denoising,
            objective=reconstruction,
            corrupt=partial(corrupt, **context.settings),
        )

    return make


def add_noise(context: Context) -> Objective:
    """Makes the denoising objective with Gaussian noise, clipped only if pixels are bounded."""
    bounded = context.network.likelihood.bounded
    return denoising_maker(partial(objectives.add_gaussian_noise, bounded=bounded))(context)


def add_salt_and_pepper(context: Context) -> Objective:
    """Makes the denoising objective with pixels set to 0 or 1, the ends of their range.

    Raises `UserError` if the likelihood is of numbers without a range.
    """
    if not context.network.likelihood.bounded:
        raise UserError(
            "--objective salt-and-pepper was given for numbers of any range, and sets some to 0 or "
            "1 as the darkest and the brightest: choose masking, which sets some to 0, or denoising"
        )
    return denoising_maker(objectives.add_salt_and_pepper)(context)


def beta_tc(context: Context) -> Objective:
    """Makes the beta-TC objective, whose estimate of q(z) needs the number of training images."""
    return objective_maker(partial(objectives.beta_tc, size=context.images))(context)
