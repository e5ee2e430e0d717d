"""Trains any member of the family of autoencoders on images, or if dense on vectors.

    jaxae train --objective beta-tc --beta 4

Each member has its own loss; `--help` lists all members with their sources and settings. The dense
network takes about a minute for 20 epochs of MNIST on two cores, longer with several samples.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn
import numpy as np

from jaxae import data, family, likelihoods, models, plots, priors, runs
from jaxae.cli import run_main
from jaxae.commands.optimizers import OptimizerName, ScheduleName, make_optimizer, warmup_of
from jaxae.errors import UserError
from jaxae.models import lecun, logistic
from jaxae.network import Network
from jaxae.runs import Binarization, RunOptions, binarized_train, with_binarization, with_kl_warmup
from jaxae.train import steps_in_epoch

EXPERIMENT = "family"  # the name of the experiment in config.json

# The activations, each with the initialization that suits it; None is the network's own.
_ACTIVATIONS = {
    None: (None, lecun),
    "relu": (nn.relu, lecun),
    "elu": (nn.elu, lecun),
    "tanh": (nn.tanh, lecun),
    "sigmoid": (nn.sigmoid, logistic),
    "silu": (nn.silu, lecun),
}

_OLD_DEVIATION = 0.1  # runs recorded it with any likelihood when it was the default

if TYPE_CHECKING:
    _Name = str
    _LikelihoodName = str
    _ActivationName = str

    @dataclass(frozen=True)
    class SettingOptions:
        """An objective's own settings."""

        def __init__(self, **settings: Any) -> None: ...
else:
    _Name = Literal[tuple(family.FAMILY)]
    _LikelihoodName = Literal[tuple(likelihoods.BY_NAME)]
    _ActivationName = Literal[tuple(name for name in _ACTIVATIONS if name)]
    SettingOptions = make_dataclass(
        "SettingOptions",
        family.setting_fields(),
        # Without its module, an instance cannot be pickled on Python 3.11.
        namespace={"__module__": __name__, "__doc__": "An objective's own settings."},
        frozen=True,
    )


@dataclass(frozen=True)
class Options:
    """An autoencoder of the family."""

    objective: _Name = "vae"  # objective to train with
    latent: int = 20  # number of dimensions of the code, or of channels of a quantized map
    # kind of layers in the encoder and the decoder: dense, strided convolutions (conv) or residual
    # blocks (resnet)
    network: Literal["dense", "conv", "resnet"] = "dense"
    # widths of the hidden layers, or channels of each resolution, starting at the image (default:
    # 500 if dense, else by the size of the images: 32 64 if conv, 16 32 64 if resnet for 32 pixels)
    hidden: tuple[int, ...] | None = None
    # activation of all layers but the code's and the last (default: silu if resnet, else relu)
    activation: _ActivationName | None = None
    # likelihood of a pixel or a number, which gives the reconstruction loss (default: bernoulli for
    # images, gaussian_identity for vectors)
    likelihood: _LikelihoodName | None = None
    # standard deviation of a pixel in [0, 1] under the gaussian likelihood (default: 0.1), or of a
    # number under gaussian_identity (default: 1)
    standard_deviation: float | None = None
    # time at which training pixels are drawn as 0 or 1: never (none), each step (dynamic) or once
    # (static)
    binarization: Binarization = "none"
    # number of epochs, or a fraction of one, over which the weight of the KL term grows from 0
    kl_warmup: float = 0.0
    # --- optimizer ---
    # optimizer of the parameters. muon orthogonalizes the updates of kernels, which takes several
    # times as long for wide dense layers; the default --learning-rate suits it. schedule-free is
    # AdamW whose averaged parameters need no schedule; --learning-rate 0.0025 to 0.005 suits it
    optimizer: OptimizerName = "adam"
    # learning rate schedule: cosine ends at 0, and plateau halves the rate whenever the loss of the
    # validation images, or without any of the test images, has reached no new low in 5 tested
    # epochs
    schedule: ScheduleName = "constant"
    # part of all steps in which the rate rises from 0, with --schedule warmup-cosine or --optimizer
    # schedule-free (default: 0.05)
    warmup: float | None = None
    # largest global norm of a gradient; longer ones are scaled down to it (default: no limit)
    clip: float | None = None
    # decay of a moving average of the parameters, such as 0.999, which tests, pictures, --load and
    # jaxae evaluate then use in their place (default: no average)
    ema: float | None = None
    # weight decay of kernels, decoupled from the gradient as in AdamW (default: 0.01 with adamw and
    # muon, else 0)
    weight_decay: float | None = None
    settings: SettingOptions = SettingOptions()
    run: RunOptions = RunOptions(epochs=20, batch_size=128, learning_rate=1e-3)


def main(options: Options) -> None:
    """Trains a member of the family on the dataset that the options name."""
    train_member(options)


def train_member(
    options: Options,
    *,
    dataset: str | data.Dataset = "mnist",
    how_to_resume: Callable[[Path], str] | None = None,
) -> runs.Run:
    """Trains; draws reconstructions at epochs 1, 2, 5, 10, ..., and samples at the end.

    The arguments are those of `runs.start`; the run that is returned has ended.
    """
    with open_member(options, dataset=dataset, how_to_resume=how_to_resume) as (run, recipe):
        for epoch in runs.train_epochs(run, recipe):
            draw_epoch(run, epoch, options)
    return run


@contextlib.contextmanager
def open_member(
    options: Options,
    *,
    dataset: str | data.Dataset = "mnist",
    how_to_resume: Callable[[Path], str] | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[tuple[runs.Run, runs.Recipe]]:
    """Opens the run of a member of the family, as `runs.start` does; yields it with its recipe."""
    check_member(options)
    with runs.start(
        EXPERIMENT, options, dataset=dataset, how_to_resume=how_to_resume, command=command
    ) as run:
        recipe = make_recipe(options, run.dataset)
        if options.schedule == "plateau":
            runs.warn_of_test_images(run, "--schedule plateau", "lowers the learning rate")
        yield run, recipe


def check_member(options: Options) -> None:
    """Raises `UserError` for a setting of another member, or one that no dataset allows."""
    settings_of(options)
    _check_epochs(options)


def settings_of(options: Options) -> dict[str, Any]:
    """Returns all settings of the member that the options name."""
    given = {name: value for name, value in asdict(options.settings).items() if value is not None}
    return family.choose_settings(options.objective, given)


def draw_epoch(run: runs.Run, epoch: runs.Epoch, options: Options) -> None:
    """Draws reconstructions at epochs 1, 2, 5, 10, ..., and samples at the end."""
    if shows_reconstructions(epoch):
        runs.draw_reconstructions(run, epoch)
    if epoch.last:
        _draw_samples(run, epoch, options)


def _check_epochs(options: Options) -> None:
    """Raises `UserError` if other epochs than before would change a resumed run's learning rate."""
    folder, epochs = options.run.resume, options.run.epochs
    if folder is None or options.run.restart:
        return
    before = runs.read_config(folder).options.run.epochs
    if before == epochs:
        return
    if options.schedule in ("cosine", "warmup-cosine"):
        reason = f"falls to 0 at epoch {before}"
    else:
        rising = warmup_of(options.optimizer, options.schedule, options.warmup)
        done = options.run.initial_epoch or len(runs.read_records(folder))
        if done >= rising * max(before, epochs):
            return
        reason = f"still rises at epoch {done}, for {rising:g} of all {before} epochs"
    raise UserError(
        f"--epochs {epochs}: the learning rate of {folder} {reason}; leave out --epochs, or start "
        "a new run"
    )


def shows_reconstructions(epoch: runs.Epoch) -> bool:
    """Returns whether an epoch is the last one, or number 1, 2, 5, 10, ..."""
    return epoch.last or str(epoch.number).rstrip("0") in ("1", "2", "5")


def make_recipe(options: Options, dataset: data.Dataset) -> runs.Recipe:
    """Returns the network, objective and optimizer of a member of the family for a dataset.

    Raises `UserError` for options that are out of range, or that the dataset does not allow.
    """
    settings = settings_of(options)
    if options.latent < 1:
        raise UserError(f"--latent {options.latent}: give 1 or more")
    if min(options.hidden or (1,)) < 1:
        widths = " ".join(map(str, options.hidden or ()))
        raise UserError(f"--hidden {widths}: give widths of 1 or more")
    member = family.FAMILY[options.objective]
    if options.kl_warmup and not member.variational:
        names = [name for name, other in family.FAMILY.items() if other.variational]
        raise UserError(
            f"--kl-warmup {options.kl_warmup:g}: {options.objective} has no KL term of a "
            f"posterior; leave it out, or choose {', '.join(names[:-1])} or {names[-1]}"
        )
    likelihood = _choose_likelihood(options, dataset)
    activation, initialization = _ACTIVATIONS[options.activation]
    design = models.Design(
        dataset.train.images.shape[1:],
        options.latent,
        options.network,
        options.hidden,
        activation,
        initialization,
        logits_per_channel=likelihood.logits_per_channel,
        dtype=options.run.dtype,
    )
    model = family.make_model(options.objective, design, settings, classes=len(dataset.class_names))
    count = len(dataset.train.images)
    network = Network(model, likelihood)
    objective = family.make_objective(options.objective, network, settings, images=count)
    steps = options.run.epochs * steps_in_epoch(
        count, options.run.batch_size, drop_remainder=options.run.drop_remainder
    )
    optimizer = make_optimizer(
        options.run.learning_rate,
        steps,
        optimizer=options.optimizer,
        schedule=options.schedule,
        warmup=options.warmup,
        clip=options.clip,
        ema=options.ema,
        weight_decay=options.weight_decay,
    )
    recipe = runs.Recipe(
        network,
        objective,
        optimizer,
        collections=member.collections and member.collections(),
        settled_after=settings.get("anneal_steps", 0),
        numbers=family.numbers_of(options.objective, settings)
        | {"learning_rate": options.run.learning_rate},
        loss_unit=network.likelihood.loss_unit,
    )
    recipe = with_kl_warmup(recipe, options.run, dataset, options.kl_warmup)
    return with_binarization(recipe, dataset, options.binarization)


def _choose_likelihood(options: Options, dataset: data.Dataset) -> likelihoods.Likelihood:
    """Returns the named likelihood, or the default one for images or vectors.

    Raises `UserError` if it cannot take the standard deviation or binarized images.
    """
    images, deviation = dataset.train.images, options.standard_deviation
    name = options.likelihood or ("gaussian_identity" if images.ndim == 2 else "bernoulli")
    likelihood = likelihoods.BY_NAME[name]
    if name in likelihoods.WITH_DEVIATION and deviation is not None:
        likelihood = likelihoods.WITH_DEVIATION[name](deviation)
    elif deviation not in (None, _OLD_DEVIATION):
        raise UserError(
            f"--standard-deviation {deviation}: --likelihood {name} does not take one; leave it "
            f"out, or choose {' or '.join(likelihoods.WITH_DEVIATION)}"
        )
    if not likelihood.bounded and options.binarization != "none":
        raise UserError(
            f"--binarization {options.binarization} draws pixels in [0, 1] as 0 or 1, and "
            f"--likelihood {name} is of numbers of any range: leave out --binarization, or choose "
            "--likelihood bernoulli"
        )
    return likelihood


def _draw_samples(run: runs.Run, epoch: runs.Epoch, options: Options) -> None:
    """Draws a hundred images decoded from new codes, of the classes in turn if conditional.

    Of vectors it draws nothing.
    """
    if len(run.shape) != 3:
        return
    trained, prior = epoch.trained, family.FAMILY[options.objective].prior
    split = run.dataset.train
    images = split.images[:10_000]
    labels = None if split.labels is None else split.labels[:10_000]
    if options.binarization != "none" and prior != "normal":  # the normal prior needs no images
        images = np.asarray(binarized_train(run.dataset).images[:10_000])
    with runs.skip_failed_picture("samples"):
        sampler = priors.of_network(trained, images, labels, prior)
        codes = sampler(runs.fixed_keys().pictures, 100)
        images = trained.decode(codes, np.arange(100) % (trained.classes or 1))
        caption = f"images decoded from {priors.DESCRIPTIONS[prior]}"
        picture = plots.labeled_grid([plots.in_rows(images, columns=10)])
        runs.save_picture(run, "samples", picture, caption)


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    description = f"{__doc__}\n{family.describe_members()}"
    run_main(main, Options, description=description, arguments=arguments, program=program)
