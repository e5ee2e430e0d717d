"""The family of autoencoders: one table of all members, and what makes their networks and losses.

A new member is a function among the objectives and a row here; the tests, `experiments/family.py`
and its help then know it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import flax.linen as nn

from jaxae import discrepancies, models, objectives
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.models import Design
from jaxae.models.layers import unit_scale
from jaxae.steps import Objective, Variables

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What an objective is made from."""

    model: nn.Module
    likelihood: Likelihood
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
    settings: Settings = field(default_factory=dict)  # of the objective, with their defaults
    model_settings: Settings = field(default_factory=dict)
    prior: Literal["normal", "mixture", "resample"] = "normal"  # where new codes come from
    collections: Callable[[], Variables] | None = None  # of the objective, as they are at first


# Networks.


def plain(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code that is a function of the image."""
    del classes, settings
    return models.Autoencoder(*models.make_pair(design, design.latent))


def sigmoid_code(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code between 0 and 1, whose numbers are rates."""
    del classes, settings
    pair = models.make_pair(design, design.latent, latent_activation=nn.sigmoid)
    return models.Autoencoder(*pair)


def top_k(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code of which all but the largest numbers are 0."""
    del classes
    pair = models.make_pair(design, design.latent)
    return models.Autoencoder(*pair, bottleneck=models.TopK(settings["active"]))


def variational(design: Design, classes: int, settings: Settings) -> models.VariationalAutoencoder:
    """A Gaussian posterior over codes."""
    del classes, settings
    return models.VariationalAutoencoder(*models.make_pair(design, 2 * design.latent))


def conditional(design: Design, classes: int, settings: Settings) -> models.VariationalAutoencoder:
    """A Gaussian posterior, and a decoder, that know the class."""
    del settings
    pair = models.make_pair(design, 2 * design.latent)
    return models.VariationalAutoencoder(*pair, classes=classes)


def vector_quantized(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code of vectors from a codebook; convolutional ones have a map of them."""
    del classes
    pair = models.make_pair(design, design.latent, maps=True)
    quantizer = models.VectorQuantizer(settings["codebook"], settings["dimension"])
    return models.Autoencoder(*pair, bottleneck=quantizer)


def scalar_quantized(design: Design, classes: int, settings: Settings) -> models.Autoencoder:
    """A code of a few levels a number; convolutional ones have a map of them.

    Of one scale, or all features drift together to where the bound is flat, and one code remains.
    """
    del classes
    pair = models.make_pair(design, design.latent, latent_activation=unit_scale, maps=True)
    return models.Autoencoder(*pair, bottleneck=models.FiniteScalarQuantizer(settings["levels"]))


# Objectives.


def of(objective: Callable[..., Any]) -> Callable[[Context], Objective]:
    """An objective that takes a model, a likelihood and its settings."""

    def make(context: Context) -> Objective:
        return partial(
            objective, model=context.model, likelihood=context.likelihood, **context.settings
        )

    return make


def corrupted(corrupt: Callable[..., Any]) -> Callable[[Context], Objective]:
    """Reconstruction from inputs that a function with the settings corrupts."""

    def make(context: Context) -> Objective:
        reconstruction = partial(
            objectives.reconstruction, model=context.model, likelihood=context.likelihood
        )
        return partial(
            objectives.denoising,
            objective=reconstruction,
            corrupt=partial(corrupt, **context.settings),
        )

    return make


def beta_tc(context: Context) -> Objective:
    """Its estimate of q(z) needs the number of training images."""
    return of(partial(objectives.beta_tc, size=context.images))(context)


FAMILY: dict[str, Member] = {
    "reconstruction": Member(
        "a code of few numbers, and nothing else",
        "Hinton and Salakhutdinov 2006",
        "reconstruction",
        of(objectives.reconstruction),
        plain,
        prior="mixture",
    ),
    "denoising": Member(
        "clean images from ones with Gaussian noise",
        "Vincent et al. 2008",
        "reconstruction",
        corrupted(objectives.add_gaussian_noise),
        plain,
        {"noise": 0.5},
        prior="mixture",
    ),
    "masking": Member(
        "clean images from ones with pixels set to 0",
        "Vincent et al. 2010, section 3.3",
        "reconstruction",
        corrupted(objectives.mask_pixels),
        plain,
        {"rate": 0.25},
        prior="mixture",
    ),
    "salt-and-pepper": Member(
        "clean images from ones with pixels set to 0 or 1",
        "Vincent et al. 2010, section 3.3",
        "reconstruction",
        corrupted(objectives.add_salt_and_pepper),
        plain,
        {"rate": 0.25},
        prior="mixture",
    ),
    "sparse-l1": Member(
        "the code's absolute values weigh",
        "Olshausen and Field 1996, eq. 2",
        "reconstruction + weight * l1",
        of(objectives.sparse_l1),
        plain,
        {"weight": 0.1},
        prior="mixture",
    ),
    "sparse-kl": Member(
        "each number of the code, between 0 and 1, has a target mean",
        "Ng 2011, CS294A notes, section 3",
        "reconstruction + weight * rate_kl",
        of(objectives.sparse_kl),
        sigmoid_code,
        {"rate": 0.05, "weight": 3.0},
        prior="mixture",
    ),
    "top-k": Member(
        "only the largest numbers of the code are kept",
        "Makhzani and Frey 2014",
        "reconstruction",
        of(objectives.reconstruction),
        top_k,
        model_settings={"active": 8},
        prior="mixture",
    ),
    "contractive": Member(
        "the encoder's squared Jacobian weighs, exactly",
        "Rifai et al. 2011, eq. 4",
        "reconstruction + weight * contraction",
        of(objectives.contractive),
        plain,
        {"weight": 0.1},
        prior="mixture",
    ),
    "contractive-estimate": Member(
        "the same by Hutchinson's estimate, from random directions",
        "Rifai et al. 2011; Hutchinson 1989",
        "reconstruction + weight * contraction",
        of(objectives.contractive_estimate),
        plain,
        {"weight": 0.1, "probes": 1},
        prior="mixture",
    ),
    "rae-l2": Member(
        "the code's norm and the decoder's weights weigh",
        "Ghosh et al. 2020, section 3",
        "reconstruction + code_weight * code_norm + decoder_weight * decoder_norm",
        of(objectives.rae_l2),
        plain,
        {"code_weight": 0.1, "decoder_weight": 1e-4},
        prior="mixture",
    ),
    "rae-gp": Member(
        "the code's norm and the decoder's gradient weigh",
        "Ghosh et al. 2020, section 3",
        "reconstruction + code_weight * code_norm + gradient_weight * decoder_gradient",
        of(objectives.rae_gp),
        plain,
        {"code_weight": 0.1, "gradient_weight": 0.1},
        prior="mixture",
    ),
    "wae": Member(
        "codes distributed as the prior, by MMD with an inverse multiquadratic kernel",
        "Tolstikhin et al. 2018, algorithm 2",
        "reconstruction + weight * discrepancy",
        of(objectives.wasserstein),
        plain,
        {"weight": 100.0},
    ),
    "wae-rbf": Member(
        "the same with a Gaussian kernel",
        "Tolstikhin et al. 2018, algorithm 2",
        "reconstruction + weight * discrepancy",
        of(partial(objectives.wasserstein, kernel=discrepancies.rbf)),
        plain,
        {"weight": 100.0},
    ),
    "vae": Member(
        "the evidence lower bound",
        "Kingma and Welling 2014, eq. 10",
        "reconstruction + kl",
        of(objectives.negative_elbo),
        variational,
    ),
    "beta-vae": Member(
        "the bound with a weight on its KL term",
        "Higgins et al. 2017, eq. 4",
        "reconstruction + beta * kl",
        of(objectives.negative_elbo),
        variational,
        {"beta": 4.0},
    ),
    "capacity": Member(
        "the KL term held at a capacity that grows",
        "Burgess et al. 2018, eq. 8",
        "reconstruction + gamma * capacity_gap",
        of(objectives.capacity_annealed),
        variational,
        {"gamma": 30.0, "capacity": 25.0, "anneal_steps": 5000},
        collections=objectives.capacity_schedule,
    ),
    "beta-tc": Member(
        "the KL term in three parts, with a weight on the total correlation",
        "Chen et al. 2018, eq. 4",
        "reconstruction + mutual_information + beta * total_correlation + dimension_wise_kl",
        beta_tc,
        variational,
        {"beta": 6.0},
    ),
    "info-vae": Member(
        "less of the KL term, and the aggregate posterior drawn to the prior by MMD",
        "Zhao et al. 2019, eq. 6",
        "reconstruction + (1 - alpha) * kl + (alpha + strength - 1) * discrepancy",
        of(objectives.info_vae),
        variational,
        {"alpha": 0.5, "strength": 100.0},
    ),
    "iwae": Member(
        "a tighter bound, from several weighted samples",
        "Burda et al. 2016, eq. 8",
        "negative_bound",
        of(objectives.iwae),
        variational,
        {"samples": 5},
    ),
    "miwae": Member(
        "the mean of several such bounds",
        "Rainforth et al. 2018, section 6",
        "negative_bound",
        of(objectives.miwae),
        variational,
        {"samples": 8, "groups": 8},
    ),
    "piwae": Member(
        "the tightest bound for the decoder, the mean of several for the encoder",
        "Rainforth et al. 2018, section 6",
        "negative_bound",
        of(objectives.piwae),
        variational,
        {"samples": 8, "groups": 8},
    ),
    "ciwae": Member(
        "a mixture of the two bounds",
        "Rainforth et al. 2018, section 6",
        "mixture * negative_elbo + (1 - mixture) * negative_bound",
        of(objectives.ciwae),
        variational,
        {"samples": 8, "mixture": 0.5},
    ),
    "conditional": Member(
        "the bound given the class",
        "Sohn et al. 2015, eq. 4",
        "reconstruction + beta * kl",
        of(objectives.negative_elbo),
        conditional,
        {"beta": 1.0},
    ),
    "vq": Member(
        "vectors from a codebook of moving averages, dead ones revived",
        "van den Oord et al. 2017, appendix A.1",
        "reconstruction + commitment * commitment_error",
        of(objectives.vector_quantized),
        vector_quantized,
        {"commitment": 0.25, "decay": 0.99},
        {"codebook": 128, "dimension": 4},
        prior="resample",
    ),
    "fsq": Member(
        "numbers rounded to a few levels",
        "Mentzer et al. 2024",
        "reconstruction",
        of(objectives.reconstruction),
        scalar_quantized,
        model_settings={"levels": (8, 5, 5, 5)},
        prior="resample",
    ),
}


def choose_settings(name: str, given: Settings) -> dict[str, Any]:
    """All settings of a member: those given, and for the rest the defaults.

    Raises UserError for an unknown member and for a setting that it does not have.
    """
    if name not in FAMILY:
        raise UserError(f"no objective is called {name}: choose one of {', '.join(FAMILY)}")
    member = FAMILY[name]
    known = {**member.model_settings, **member.settings}
    for setting, value in given.items():
        flag = f"--{setting.replace('_', '-')}"
        if setting not in known:
            flags = ", ".join(f"--{other.replace('_', '-')}" for other in known) or "none at all"
            raise UserError(f"{flag} {value}: {name} has no such setting; it has {flags}")
        low, high = RANGES.get(setting, (0, float("inf")))
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or not all(low <= number <= high for number in numbers):
            raise UserError(f"{flag} {value}: give {low:g} or more, and {high:g} at most")
    return {**known, **given}


# Of the settings that cannot be any number from 0 on; at their ends they are still finite.
RANGES: dict[str, tuple[float, float]] = {
    "noise": (0, 1e6),
    "rate": (0, 1),
    "active": (1, 2**20),
    "probes": (1, 2**10),
    "anneal_steps": (1, 2**31 - 1),
    "alpha": (-1e6, 1),
    "samples": (1, 2**20),
    "groups": (1, 2**20),
    "mixture": (0, 1),
    "codebook": (2, 2**20),
    "dimension": (1, 2**20),
    "decay": (0, 1),
    "levels": (2, 2**16),
}


def make_model(name: str, design: Design, settings: Settings, *, classes: int) -> nn.Module:
    """A member's network, for images of a dataset with so many classes."""
    member = FAMILY[name]
    chosen = {key: settings[key] for key in member.model_settings}
    return member.make_model(design, classes, chosen)


def make_objective(
    name: str, model: nn.Module, likelihood: Likelihood, settings: Settings, *, images: int
) -> Objective:
    """A member's objective, for training on so many images."""
    member = FAMILY[name]
    chosen = {key: settings[key] for key in member.settings}
    return member.make_objective(Context(model, likelihood, images, chosen))


def describe_members() -> str:
    """The table as text: a line for each member, with its source and its settings."""
    lines = []
    for name, member in FAMILY.items():
        settings = {**member.model_settings, **member.settings}
        values = ", ".join(f"{setting} {value}" for setting, value in settings.items())
        lines.append(
            f"- {name}: {member.summary} ({member.reference})" + (values and f"; {values}")
        )
    return "\n".join(lines)
