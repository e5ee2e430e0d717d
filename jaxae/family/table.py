"""The family of autoencoders: one table of all members and their settings.

A new member is a function among the objectives and a row here. The tests, the command and its help
read its name and its settings from the row.
"""

from dataclasses import field
from functools import partial
from typing import Any

from jaxae import objectives
from jaxae.family.members import (
    Member,
    add_noise,
    add_salt_and_pepper,
    beta_tc,
    denoising_maker,
    make_conditional,
    make_plain,
    make_reconstruction,
    make_scalar_quantized,
    make_sigmoid_code,
    make_top_k,
    make_variational,
    make_vector_quantized,
    objective_maker,
)
from jaxae.family.settings import Setting, defaults_of, describe_settings

FAMILY: dict[str, Member] = {
    "reconstruction": Member(
        summary="a code of few numbers, and nothing else",
        reference="Hinton and Salakhutdinov 2006",
        formula="reconstruction",
        make_objective=make_reconstruction,
        make_model=make_plain,
        prior="mixture",
    ),
    "denoising": Member(
        summary="clean images from ones with Gaussian noise",
        reference="Vincent et al. 2010, section 3.3",
        formula="reconstruction",
        make_objective=add_noise,
        make_model=make_plain,
        settings={
            "noise": Setting(
                0.5,
                high=1e6,
                help="standard deviation of the noise added to pixels in [0, 1] or scaled vectors",
            )
        },
        prior="mixture",
    ),
    "masking": Member(
        summary="clean images from ones with pixels set to 0",
        reference="Vincent et al. 2010, section 3.3",
        formula="reconstruction",
        make_objective=denoising_maker(objectives.mask_pixels),
        make_model=make_plain,
        settings={"rate": Setting(0.25, high=1, help="fraction of pixels set to 0")},
        prior="mixture",
    ),
    "salt-and-pepper": Member(
        summary="clean images from ones with pixels set to 0 or 1",
        reference="Vincent et al. 2010, section 3.3",
        formula="reconstruction",
        make_objective=add_salt_and_pepper,
        make_model=make_plain,
        settings={"rate": Setting(0.25, high=1, help="fraction of pixels set to 0 or 1")},
        prior="mixture",
    ),
    "sparse-l1": Member(
        summary="an L1 penalty on the code",
        reference="Olshausen and Field 1996, eq. 2",
        formula="reconstruction + weight * l1",
        make_objective=objective_maker(objectives.sparse_l1),
        make_model=make_plain,
        settings={"weight": Setting(0.1, help="weight of the L1 penalty")},
        prior="mixture",
    ),
    "sparse-kl": Member(
        summary="a KL penalty that holds each unit's mean activation at a target rate",
        reference="Ng 2011, CS294A notes, section 3",
        formula="reconstruction + weight * rate_kl",
        make_objective=objective_maker(objectives.sparse_kl),
        make_model=make_sigmoid_code,
        settings={
            "rate": Setting(0.05, high=1, help="target mean activation of each unit"),
            "weight": Setting(3.0, help="weight of the KL penalty"),
        },
        prior="mixture",
    ),
    "top-k": Member(
        summary="only the largest numbers of the code are kept",
        reference="Makhzani and Frey 2014",
        formula="reconstruction",
        make_objective=objective_maker(objectives.reconstruction),
        make_model=make_top_k,
        model_settings={
            "active": Setting(
                8, low=1, high=2**20, help="number of values of the code that are kept"
            )
        },
        prior="mixture",
    ),
    "contractive": Member(
        summary="a penalty on the encoder's squared Jacobian norm, computed exactly",
        reference="Rifai et al. 2011",
        formula="reconstruction + weight * contraction",
        make_objective=objective_maker(objectives.contractive),
        make_model=make_plain,
        settings={"weight": Setting(0.1, help="weight of the contraction")},
        prior="mixture",
    ),
    "contractive-estimate": Member(
        summary="the same penalty by Hutchinson's estimate, from random directions",
        reference="Rifai et al. 2011; Hutchinson 1989",
        formula="reconstruction + weight * contraction",
        make_objective=objective_maker(objectives.contractive_estimate),
        make_model=make_plain,
        settings={
            "weight": Setting(0.1, help="weight of the contraction"),
            "probes": Setting(1, low=1, high=2**10, help="number of random directions per image"),
        },
        prior="mixture",
    ),
    "rae-l2": Member(
        summary="penalties on the code's norm and on the decoder's weights",
        reference="Ghosh et al. 2020, section 3",
        formula="reconstruction + code_weight * code_norm + decoder_weight * decoder_norm",
        make_objective=objective_maker(objectives.rae_l2),
        make_model=make_plain,
        settings={
            "code_weight": Setting(0.1, help="weight of half the code's squared norm"),
            "decoder_weight": Setting(
                0.0001, help="weight of the squared norm of the decoder's parameters"
            ),
        },
        prior="mixture",
    ),
    "rae-gp": Member(
        summary="penalties on the code's norm and on the decoder's gradient",
        reference="Ghosh et al. 2020, section 3",
        formula="reconstruction + code_weight * code_norm + gradient_weight * decoder_gradient",
        make_objective=objective_maker(objectives.rae_gp),
        make_model=make_plain,
        settings={
            "code_weight": Setting(0.1, help="weight of half the code's squared norm"),
            "gradient_weight": Setting(0.1, help="weight of the decoder's squared gradient"),
        },
        prior="mixture",
    ),
    "wae": Member(
        summary="codes distributed as the prior, by MMD with an inverse multiquadratic kernel",
        reference="Tolstikhin et al. 2018, algorithm 2",
        formula="reconstruction + weight * discrepancy",
        make_objective=objective_maker(objectives.wasserstein),
        make_model=make_plain,
        settings={"weight": Setting(100.0, help="weight of the discrepancy")},
    ),
    "wae-rbf": Member(
        summary="the same with a Gaussian kernel",
        reference="Tolstikhin et al. 2018, algorithm 2",
        formula="reconstruction + weight * discrepancy",
        make_objective=objective_maker(partial(objectives.wasserstein, kernel=objectives.rbf)),
        make_model=make_plain,
        settings={"weight": Setting(100.0, help="weight of the discrepancy")},
    ),
    "vae": Member(
        summary="the evidence lower bound",
        reference="Kingma and Welling 2014, eq. 10",
        formula="reconstruction + kl",
        make_objective=objective_maker(objectives.negative_elbo),
        make_model=make_variational,
    ),
    "beta-vae": Member(
        summary="the bound with a weight on its KL term",
        reference="Higgins et al. 2017, eq. 4",
        formula="reconstruction + beta * kl",
        make_objective=objective_maker(objectives.negative_elbo),
        make_model=make_variational,
        settings={"beta": Setting(4.0, help="weight of the KL term")},
    ),
    "capacity": Member(
        summary="the KL term held at a capacity that grows",
        reference="Burgess et al. 2018, eq. 8",
        formula="reconstruction + gamma * capacity_gap",
        make_objective=objective_maker(objectives.capacity_annealed),
        make_model=make_variational,
        # The paper's gamma of 1000 and 100,000 steps suit runs far longer than 20 epochs.
        settings={
            "gamma": Setting(30.0, help="weight of the gap between KL term and capacity"),
            "capacity": Setting(25.0, help="nats of the KL term that the capacity grows to"),
            "anneal_steps": Setting(
                5000, low=1, high=2**31 - 1, help="number of steps until the capacity is reached"
            ),
        },
        collections=objectives.capacity_schedule,
    ),
    "beta-tc": Member(
        summary="the KL term in three parts, with a weight on the total correlation",
        reference="Chen et al. 2018, eq. 4",
        formula="reconstruction + mutual_information + beta * total_correlation"
        " + dimension_wise_kl",
        make_objective=beta_tc,
        make_model=make_variational,
        settings={"beta": Setting(6.0, help="weight of the total correlation")},
    ),
    "info-vae": Member(
        summary="a lighter KL term, and an MMD between aggregate posterior and prior",
        reference="Zhao et al. 2019, eq. 6",
        formula="reconstruction + (1 - alpha) * kl + (alpha + strength - 1) * discrepancy",
        make_objective=objective_maker(objectives.info_vae),
        make_model=make_variational,
        settings={
            "alpha": Setting(0.5, low=-1e6, high=1, help="share of the KL term that is left out"),
            "strength": Setting(100.0, help="weight of the discrepancy, named lambda in the paper"),
        },
    ),
    "iwae": Member(
        summary="a tighter bound, from several weighted samples",
        reference="Burda et al. 2016, eq. 8",
        formula="negative_bound",
        make_objective=objective_maker(objectives.iwae),
        make_model=make_variational,
        settings={"samples": Setting(5, low=1, high=2**20, help="number of samples in each bound")},
    ),
    "miwae": Member(
        summary="the mean of several such bounds",
        reference="Rainforth et al. 2018",
        formula="negative_bound",
        make_objective=objective_maker(objectives.miwae),
        make_model=make_variational,
        settings={
            "samples": Setting(8, low=1, high=2**20, help="number of samples in each bound"),
            "groups": Setting(8, low=1, high=2**20, help="number of bounds that are averaged"),
        },
    ),
    "piwae": Member(
        summary="the tightest bound for the decoder, the mean of several for the encoder",
        reference="Rainforth et al. 2018",
        formula="negative_bound",
        make_objective=objective_maker(objectives.piwae),
        make_model=make_variational,
        settings={
            "samples": Setting(8, low=1, high=2**20, help="number of samples in each bound"),
            "groups": Setting(8, low=1, high=2**20, help="number of bounds that are averaged"),
        },
    ),
    "ciwae": Member(
        summary="a mixture of the two bounds",
        reference="Rainforth et al. 2018",
        formula="mixture * negative_elbo + (1 - mixture) * negative_bound",
        make_objective=objective_maker(objectives.ciwae),
        make_model=make_variational,
        settings={
            "samples": Setting(8, low=1, high=2**20, help="number of samples in each bound"),
            "mixture": Setting(0.5, high=1, help="weight of the ELBO, from 0 to 1"),
        },
    ),
    "conditional": Member(
        summary="the bound given the class",
        reference="Sohn et al. 2015, eq. 4",
        formula="reconstruction + beta * kl",
        make_objective=objective_maker(objectives.negative_elbo),
        make_model=make_conditional,
        settings={"beta": Setting(1.0, help="weight of the KL term")},
    ),
    "vq": Member(
        summary="vectors from a codebook of moving averages, dead ones revived",
        reference="van den Oord et al. 2017, appendix A.1",
        formula="reconstruction + commitment * commitment_error",
        make_objective=objective_maker(objectives.vector_quantized),
        make_model=make_vector_quantized,
        settings={
            "commitment": Setting(0.25, help="weight of the distance to the codebook"),
            # With a decay of 1, a codebook would never move.
            "decay": Setting(0.99, high=0.9999, help="decay of the codebook's moving averages"),
        },
        model_settings={
            "codebook": Setting(128, low=2, high=2**20, help="number of vectors in the codebook"),
            "dimension": Setting(4, low=1, high=2**20, help="number of values in a vector"),
        },
        prior="resample",
    ),
    "fsq": Member(
        summary="numbers rounded to a few levels",
        reference="Mentzer et al. 2024",
        formula="reconstruction",
        make_objective=objective_maker(objectives.reconstruction),
        make_model=make_scalar_quantized,
        model_settings={
            # With more levels, features of limited scale cannot reach the outermost ones.
            "levels": Setting(
                (8, 5, 5, 5), low=2, high=27, help="number of levels of each value in a group"
            )
        },
        prior="resample",
    ),
}


def describe_members() -> str:
    """Returns the table as text: a line for each member, with its source and its settings."""
    lines = []
    for name, member in FAMILY.items():
        values = ", ".join(
            f"{setting} {value}" for setting, value in defaults_of(member.all_settings).items()
        )
        lines.append(
            f"- {name}: {member.summary} ({member.reference})" + (values and f"; {values}")
        )
    return "\n".join(lines)


def setting_fields() -> list[tuple[str, Any, Any]]:
    """Returns the settings of all members as fields for `dataclasses.make_dataclass`.

    The fields are sorted by name. Each defaults to None, which stands for the member's own default.
    The metadata of a field has "help": what the setting is, for which members, and their defaults.
    """
    described = describe_settings({name: member.all_settings for name, member in FAMILY.items()})
    return [
        (name, kind | None, field(default=None, metadata={"help": phrase}))
        for name, (kind, phrase) in described.items()
    ]
