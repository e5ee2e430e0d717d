"""The family of autoencoders: one table of all members, their settings, and what makes each.

A new member is a function among the objectives and a row here, and, for a setting of a new name, a
field of `Settings` in `jaxae/commands/train.py`; the tests, the command and its help then know it.
"""

from functools import partial
from typing import Any

import flax.linen as nn

from jaxae import objectives
from jaxae.errors import UserError
from jaxae.family.members import (
    Context,
    Member,
    beta_tc,
    denoising_maker,
    make_conditional,
    make_plain,
    make_scalar_quantized,
    make_sigmoid_code,
    make_top_k,
    make_variational,
    make_vector_quantized,
    objective_maker,
)
from jaxae.family.settings import Settings, fill_settings
from jaxae.models import Design
from jaxae.network import Network
from jaxae.train import Objective

FAMILY: dict[str, Member] = {
    "reconstruction": Member(
        "a code of few numbers, and nothing else",
        "Hinton and Salakhutdinov 2006",
        "reconstruction",
        objective_maker(objectives.reconstruction),
        make_plain,
        prior="mixture",
    ),
    "denoising": Member(
        "clean images from ones with Gaussian noise",
        "Vincent et al. 2010, section 3.3",
        "reconstruction",
        denoising_maker(objectives.add_gaussian_noise),
        make_plain,
        {"noise": 0.5},
        prior="mixture",
    ),
    "masking": Member(
        "clean images from ones with pixels set to 0",
        "Vincent et al. 2010, section 3.3",
        "reconstruction",
        denoising_maker(objectives.mask_pixels),
        make_plain,
        {"rate": 0.25},
        prior="mixture",
    ),
    "salt-and-pepper": Member(
        "clean images from ones with pixels set to 0 or 1",
        "Vincent et al. 2010, section 3.3",
        "reconstruction",
        denoising_maker(objectives.add_salt_and_pepper),
        make_plain,
        {"rate": 0.25},
        prior="mixture",
    ),
    "sparse-l1": Member(
        "an L1 penalty on the code",
        "Olshausen and Field 1996, eq. 2",
        "reconstruction + weight * l1",
        objective_maker(objectives.sparse_l1),
        make_plain,
        {"weight": 0.1},
        prior="mixture",
    ),
    "sparse-kl": Member(
        "a KL penalty that holds each unit's mean activation at a target rate",
        "Ng 2011, CS294A notes, section 3",
        "reconstruction + weight * rate_kl",
        objective_maker(objectives.sparse_kl),
        make_sigmoid_code,
        {"rate": 0.05, "weight": 3.0},
        prior="mixture",
    ),
    "top-k": Member(
        "only the largest numbers of the code are kept",
        "Makhzani and Frey 2014",
        "reconstruction",
        objective_maker(objectives.reconstruction),
        make_top_k,
        model_settings={"active": 8},
        prior="mixture",
    ),
    "contractive": Member(
        "a penalty on the encoder's squared Jacobian norm, computed exactly",
        "Rifai et al. 2011",
        "reconstruction + weight * contraction",
        objective_maker(objectives.contractive),
        make_plain,
        {"weight": 0.1},
        prior="mixture",
    ),
    "contractive-estimate": Member(
        "the same penalty by Hutchinson's estimate, from random directions",
        "Rifai et al. 2011; Hutchinson 1989",
        "reconstruction + weight * contraction",
        objective_maker(objectives.contractive_estimate),
        make_plain,
        {"weight": 0.1, "probes": 1},
        prior="mixture",
    ),
    "rae-l2": Member(
        "penalties on the code's norm and on the decoder's weights",
        "Ghosh et al. 2020, section 3",
        "reconstruction + code_weight * code_norm + decoder_weight * decoder_norm",
        objective_maker(objectives.rae_l2),
        make_plain,
        {"code_weight": 0.1, "decoder_weight": 1e-4},
        prior="mixture",
    ),
    "rae-gp": Member(
        "penalties on the code's norm and on the decoder's gradient",
        "Ghosh et al. 2020, section 3",
        "reconstruction + code_weight * code_norm + gradient_weight * decoder_gradient",
        objective_maker(objectives.rae_gp),
        make_plain,
        {"code_weight": 0.1, "gradient_weight": 0.1},
        prior="mixture",
    ),
    "wae": Member(
        "codes distributed as the prior, by MMD with an inverse multiquadratic kernel",
        "Tolstikhin et al. 2018, algorithm 2",
        "reconstruction + weight * discrepancy",
        objective_maker(objectives.wasserstein),
        make_plain,
        {"weight": 100.0},
    ),
    "wae-rbf": Member(
        "the same with a Gaussian kernel",
        "Tolstikhin et al. 2018, algorithm 2",
        "reconstruction + weight * discrepancy",
        objective_maker(partial(objectives.wasserstein, kernel=objectives.rbf)),
        make_plain,
        {"weight": 100.0},
    ),
    "vae": Member(
        "the evidence lower bound",
        "Kingma and Welling 2014, eq. 10",
        "reconstruction + kl",
        objective_maker(objectives.negative_elbo),
        make_variational,
    ),
    "beta-vae": Member(
        "the bound with a weight on its KL term",
        "Higgins et al. 2017, eq. 4",
        "reconstruction + beta * kl",
        objective_maker(objectives.negative_elbo),
        make_variational,
        {"beta": 4.0},
    ),
    "capacity": Member(
        "the KL term held at a capacity that grows",
        "Burgess et al. 2018, eq. 8",
        "reconstruction + gamma * capacity_gap",
        objective_maker(objectives.capacity_annealed),
        make_variational,
        # The paper's gamma of 1000 and 100,000 steps are for many more steps than 20 epochs have.
        {"gamma": 30.0, "capacity": 25.0, "anneal_steps": 5000},
        collections=objectives.capacity_schedule,
    ),
    "beta-tc": Member(
        "the KL term in three parts, with a weight on the total correlation",
        "Chen et al. 2018, eq. 4",
        "reconstruction + mutual_information + beta * total_correlation + dimension_wise_kl",
        beta_tc,
        make_variational,
        {"beta": 6.0},
    ),
    "info-vae": Member(
        "a lighter KL term, and an MMD between aggregate posterior and prior",
        "Zhao et al. 2019, eq. 6",
        "reconstruction + (1 - alpha) * kl + (alpha + strength - 1) * discrepancy",
        objective_maker(objectives.info_vae),
        make_variational,
        {"alpha": 0.5, "strength": 100.0},
    ),
    "iwae": Member(
        "a tighter bound, from several weighted samples",
        "Burda et al. 2016, eq. 8",
        "negative_bound",
        objective_maker(objectives.iwae),
        make_variational,
        {"samples": 5},
    ),
    "miwae": Member(
        "the mean of several such bounds",
        "Rainforth et al. 2018",
        "negative_bound",
        objective_maker(objectives.miwae),
        make_variational,
        {"samples": 8, "groups": 8},
    ),
    "piwae": Member(
        "the tightest bound for the decoder, the mean of several for the encoder",
        "Rainforth et al. 2018",
        "negative_bound",
        objective_maker(objectives.piwae),
        make_variational,
        {"samples": 8, "groups": 8},
    ),
    "ciwae": Member(
        "a mixture of the two bounds",
        "Rainforth et al. 2018",
        "mixture * negative_elbo + (1 - mixture) * negative_bound",
        objective_maker(objectives.ciwae),
        make_variational,
        {"samples": 8, "mixture": 0.5},
    ),
    "conditional": Member(
        "the bound given the class",
        "Sohn et al. 2015, eq. 4",
        "reconstruction + beta * kl",
        objective_maker(objectives.negative_elbo),
        make_conditional,
        {"beta": 1.0},
    ),
    "vq": Member(
        "vectors from a codebook of moving averages, dead ones revived",
        "van den Oord et al. 2017, appendix A.1",
        "reconstruction + commitment * commitment_error",
        objective_maker(objectives.vector_quantized),
        make_vector_quantized,
        {"commitment": 0.25, "decay": 0.99},
        {"codebook": 128, "dimension": 4},
        prior="resample",
    ),
    "fsq": Member(
        "numbers rounded to a few levels",
        "Mentzer et al. 2024",
        "reconstruction",
        objective_maker(objectives.reconstruction),
        make_scalar_quantized,
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
    return fill_settings(name, FAMILY[name].all_settings, given)


def make_model(name: str, design: Design, settings: Settings, *, classes: int) -> nn.Module:
    """A member's network, for images of a dataset with so many classes."""
    member = FAMILY[name]
    chosen = {key: settings[key] for key in member.model_settings}
    return member.make_model(design, classes, chosen)


def make_objective(name: str, network: Network, settings: Settings, *, images: int) -> Objective:
    """A member's objective, for training on so many images."""
    member = FAMILY[name]
    chosen = {key: settings[key] for key in member.settings}
    return member.make_objective(Context(network, images, chosen))


def describe_members() -> str:
    """The table as text: a line for each member, with its source and its settings."""
    lines = []
    for name, member in FAMILY.items():
        values = ", ".join(f"{setting} {value}" for setting, value in member.all_settings.items())
        lines.append(
            f"- {name}: {member.summary} ({member.reference})" + (values and f"; {values}")
        )
    return "\n".join(lines)
