"""Trains a run from Python: a member of the family, or an objective and a model of one's own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import optax
from numpy.typing import ArrayLike

from jaxae import cli, data, devices, files, runs
from jaxae.commands import train
from jaxae.errors import Terminated, UserError
from jaxae.fitting import checks
from jaxae.fitting import options as keywords
from jaxae.fitting.loading import load
from jaxae.fitting.trained_run import TrainedRun
from jaxae.likelihoods import Likelihood
from jaxae.network import Network
from jaxae.runs import RunOptions
from jaxae.train import Objective, Variables

_EXPERIMENT = "fit"  # in the config.json of a run with an objective of the user's own

_ELSEWHERE = {
    "dataset": "give the arrays, the name or the path as the first argument",
    "load": "jaxae.load loads a run",
    "continue_": "resume=True continues a run",
    **dict.fromkeys(
        ("coordinator", "processes", "process"),
        "several processes train with the command jaxae train",
    ),
}

_OF_OPTAX = {
    **dict.fromkeys(
        ("schedule", "warmup", "clip", "weight_decay"),
        "with an objective of your own, give an optimizer of optax's that has it",
    ),
    "ema": "with an objective of your own, give optimizer=jaxae.train.average_params(optimizer, "
    "decay)",
}

_ON_DISK = ("data_dir", "sources", "stream", "workers")  # options for data that is not in memory


@dataclass(frozen=True)
class _OwnOptions:
    """Options of a run with an objective of the user's own."""

    run: RunOptions = RunOptions(epochs=20, batch_size=128, learning_rate=1e-3)


class _Own(NamedTuple):
    """A network of the user's own, and how it is trained."""

    network: Network
    objective: Objective
    test_objective: Objective | None
    optimizer: optax.GradientTransformation | None
    collections: Variables | None


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C after which the state is saved; a notebook shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return ["KeyboardInterrupt: training was interrupted, as said above"]


def fit(
    images: ArrayLike | str | Path | data.Dataset,
    objective: str | Objective = "vae",
    *,
    labels: ArrayLike | None = None,
    test: ArrayLike | None = None,
    test_labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    model: nn.Module | Network | None = None,
    likelihood: Likelihood | str | None = None,
    test_objective: Objective | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    collections: Variables | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> TrainedRun:
    """Trains a run on data of one's own, and returns it.

    The run's folder holds the records, checkpoints and pictures that `jaxae train` leaves there.
    Ctrl-C, or interrupting a notebook's kernel, saves the state before it ends the run.

    >>> run = fit(images, "vae", latent=20, epochs=20, out="runs/first")  # doctest: +SKIP

    Args:
      images: images [N, H, W] or [N, H, W, C], uint8 or floats in [0, 1], or vectors [N, D]; or
        the name or path of a dataset, as `--dataset` takes it, or a `jaxae.data.Dataset`.
      objective: the name of a member of the family, as `jaxae train --help` lists them; or a
        function `(variables, key, batch) -> train.Terms`, with `model` and `likelihood`.
      labels: the class of each image in an array: whole numbers or names [N].
      test: images or vectors to test on; by default a tenth of those in an array is held out.
      test_labels: the classes of `test`.
      class_names: a name for each label.
      name: the name of arrays in captions; by default "arrays".
      model: for an objective of one's own: a Linen module with `encode` and `decode`, or a
        `jaxae.network.Network`.
      likelihood: a likelihood or its name, for a module of one's own or for a member.
      test_objective: what tests measure, for an objective of one's own that trains differently,
        as with dropout; by default the same.
      optimizer: for an objective of one's own, one of optax's, by default Adam; for a member, the
        name of one, as `--optimizer` takes it.
      collections: for an objective of one's own: initial values of the collections that it updates
        beside those of the model.
      out: the run's folder, which must be new; by default results/EXPERIMENT/TIME.
      resume: continue the run in `out`, with its own options unless they are given anew.
      **options: any option of `jaxae train`, with underscores, such as epochs=20, batch_size=128,
        learning_rate=1e-3, replicas=3, latent=20, network="conv", beta=4 or scale="minmax". With
        patience=5 and validation=5000 the network returned is that of the lowest loss on 5,000
        training images that are held out.

    Raises:
      UserError: an argument is unknown or not allowed, or the data cannot be trained on; nothing is
        left of a new run then.
    """
    arrays = {
        "labels": labels,
        "test": test,
        "test_labels": test_labels,
        "class_names": class_names,
        "name": name,
    }
    arrays = {key: value for key, value in arrays.items() if value is not None}
    if isinstance(images, data.Dataset) and images.validation is not None and not resume:
        options.setdefault("validation", images.validation_images)
    own = None
    if isinstance(objective, str):
        parts = {"model": model, "test_objective": test_objective}
        parts |= {"collections": collections}
        if isinstance(optimizer, str):
            options["optimizer"] = optimizer
        else:
            parts["optimizer"] = optimizer
        checks.check_member(objective, [part for part in parts if parts[part] is not None])
        defaults = replace(train.Options(), objective=objective)
        options |= {} if likelihood is None else {"likelihood": likelihood}
    else:
        for function in (objective, objective if test_objective is None else test_objective):
            checks.check_objective(function)
        optimizer = checks.check_optimizer(optimizer, options)
        defaults, network = _OwnOptions(), runs.own_network(model, likelihood)
        own = _Own(network, objective, test_objective, optimizer, collections)
    with keywords.worded_for_python(defaults):
        keywords.check_names(options, keywords.names_of(defaults), _elsewhere(defaults))
        chosen = _choose_options(defaults, options, images, out, resume=resume)
        dataset = _find_dataset(images, arrays, chosen.run, options)
        devices.check_platforms()
        cli.use_cache(wanted=chosen.run.compilation_cache)
        files.settle_matplotlib()
        try:
            with cli.stop_once():
                run = _train(chosen, dataset, own)
        except Terminated:
            raise
        except KeyboardInterrupt:
            raise _Interrupted from None
        return replace(load(run.folder, model=own and own.network), dataset=run.dataset)


def _elsewhere(defaults: Any) -> dict[str, str]:
    """Returns advice, by name, for options that these have not, or that have another place."""
    advice = "it belongs to the members of the family, and this objective is your own"
    others = set(keywords.names_of(train.Options())) - set(keywords.names_of(defaults))
    return dict.fromkeys(sorted(others), advice) | (_OF_OPTAX if others else {}) | _ELSEWHERE


def _choose_options(
    defaults: Any,
    given: Mapping[str, Any],
    images: Any,
    out: str | Path | None,
    *,
    resume: bool,
) -> Any:
    """Returns the checked options of a new run, or of the one to resume."""
    if out is not None and not isinstance(out, str | os.PathLike):
        raise UserError(f"out of type {type(out).__name__} was given: give the path of a folder")
    folder = None if out is None else Path(out)
    on_disk = isinstance(images, str | os.PathLike)
    named = {"dataset": os.fspath(images)} if on_disk else {}
    if not resume:
        options = keywords.change(defaults, {**given, **named})
        options = replace(options, run=replace(options.run, out=folder))
        runs.check_options(options.run)
        return options
    if folder is None:
        raise UserError("resume=True continues a run: give its folder with out")
    started_as = runs.read_config(folder).experiment
    expected = _EXPERIMENT if isinstance(defaults, _OwnOptions) else train.EXPERIMENT
    if started_as != expected:
        raise UserError(
            f"{folder} is a run of {started_as}, and these arguments make one of {expected}: give "
            "those that it was started with, or another folder"
        )

    def change(saved: Any) -> Any:
        options = keywords.change(saved, {**given, **named})
        if isinstance(defaults, train.Options):
            options = replace(options, objective=defaults.objective)
        return replace(options, run=replace(options.run, resume=folder))

    return cli.restore_options(folder, type(defaults), change, in_memory=not on_disk)


def _find_dataset(
    images: Any, given: Mapping[str, Any], shared: RunOptions, options: Mapping[str, Any]
) -> str | data.Dataset:
    """Returns a dataset in memory, or the name or path of one."""
    if isinstance(images, str | os.PathLike | data.Dataset):
        if given:
            what = "a Dataset" if isinstance(images, data.Dataset) else f"the dataset {images}"
            raise UserError(
                f"{' and '.join(given)} {'was' if len(given) == 1 else 'were'} given with {what}, "
                "which has its own: leave out what belongs to arrays, or give arrays"
            )
        if isinstance(images, str | os.PathLike):
            return os.fspath(images)
    unfit = [name for name in _ON_DISK if name in options]
    if unfit:
        raise UserError(
            f"{unfit[0]} is for data that is read from disk, and this is in memory: leave it out, "
            "or give the name or path of a dataset"
        )
    if isinstance(images, data.Dataset):
        shared.reading.check_only((), "a Dataset, which is scaled already")
        return images
    shared.reading.check_only(("scale", "channels_first"), "arrays in memory")
    scaled = {"scale": shared.reading.scale, "channels_first": shared.reading.channels_first}
    return data.from_arrays(images, **given, **scaled)


def _train(options: Any, dataset: str | data.Dataset, own: _Own | None) -> runs.Run:
    """Trains a member, or a network of the user's own; returns the run, which has ended."""
    if own is None:
        return train.train_member(options, dataset=dataset, how_to_resume=_resuming_call)
    with runs.start(_EXPERIMENT, options, dataset=dataset, how_to_resume=_resuming_call) as run:
        runs.check_fits(own.network, run.shape)
        optimizer = own.optimizer or optax.adam(options.run.learning_rate)
        recipe = runs.Recipe(
            own.network,
            own.objective,
            optimizer,
            test_objective=own.test_objective,
            collections=own.collections,
        )
        for epoch in runs.train_epochs(run, recipe):
            if train.shows_reconstructions(epoch):
                runs.draw_reconstructions(run, epoch)
    return run


def _resuming_call(folder: Path) -> str:
    """Returns the call that resumes a run in a folder."""
    return f"jaxae.fit(..., out={folder.as_posix()!r}, resume=True)"
