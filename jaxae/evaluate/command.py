"""Evaluates finished runs: writes their figures as JSON, and a page of figures and pictures.

    jaxae evaluate results/family/RUN --epoch best
    jaxae evaluate results/family/*

Writes evaluation.json and report.html into each run's folder, and at the end prints the figures and
the seconds of each stage. What the data does not allow, such as probes without labels, is left out,
and a line says why. The same run,
options and data give the same figures again. Takes about half a minute on two cores for MNIST, and
minutes more the first time on a dataset, to train the network of the features.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxae import checkpoint, cli, data, devices, pages, runs
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.evaluate import figures, page
from jaxae.evaluate.generation import Figures, describe_real
from jaxae.evaluate.images import make_images, scaled, with_labels_only
from jaxae.evaluate.judge import LEAST_COMPARED, choose_judge
from jaxae.evaluate.output import Evaluated, print_results, write
from jaxae.evaluate.progress import Seconds, stage
from jaxae.evaluate.reconstruction import left_out as left_out_of
from jaxae.evaluate.references import reference_figures
from jaxae.models import count_parameters
from jaxae.network import Network, Trained
from jaxae.runs import Config, load_dataset, read_config, read_records


@dataclass(frozen=True)
class Options:
    """Evaluates finished runs: writes evaluation.json and report.html."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of the run to evaluate
    # folders of more runs to evaluate, one after the other (default: none)
    more: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")] = ()

    # --- checkpoint ---
    # epoch of the checkpoint to evaluate, or best for the lowest validation loss, or test loss if
    # the run has no validation images (default: the latest, or of a run with --patience the best)
    epoch: int | Literal["best"] | None = None
    # number of training steps at the checkpoint, in place of --epoch (default: as for --epoch)
    step: int | Literal["best"] | None = None

    # --- estimates ---
    # number of posterior samples that estimate the log-likelihood of an image
    samples: int = 200
    # number of test images to estimate the log-likelihood of (default: all, or fewer large ones)
    images: int | None = None
    # number of images to generate, at most one for each test image (default: 10000)
    generated: int | None = None
    seed: int = 0  # seed of the posterior samples and the generated images

    # --- data ---
    # path of the data of your own that the run was trained on (default: where it was last read)
    dataset: str | None = None
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None

    # --- output ---
    # folder to write to; for several runs, it gets a folder for each (default: the run's folder)
    out: Path | None = None


def main(options: Options) -> None:
    """Evaluates one run or more."""
    cli.use_cache(wanted=True)
    folders = (options.run, *options.more)
    for folder in folders:  # before the first takes its time
        read_config(folder)
    names = [folder.resolve().name for folder in folders]
    if options.out is not None and len(set(names)) < len(names):
        raise UserError(
            f"--out {options.out}: several runs are called {max(names, key=names.count)}, whose "
            "figures would share a folder; leave it out"
        )
    evaluated: list[Evaluated] = []
    try:
        for folder, name in zip(folders, names, strict=True):
            out = options.out and (options.out / name if options.more else options.out)
            if options.more:
                print(f"{folder}:", file=sys.stderr, flush=True)
            evaluated.append(_evaluate(replace(options, run=folder, more=(), out=out)))
            devices.limit_programs()
    finally:  # even if a later run cannot be evaluated
        for number, each in enumerate(evaluated):
            if options.more:
                print(f"{chr(10) * (number > 0)}{each.results['run']}:")
            print_results(each)


def evaluate_run(
    options: Options, *, network: Network | None = None, dataset: data.Dataset | None = None
) -> dict[str, Any]:
    """Evaluates each replica, writes the figures and the page, and returns evaluation.json.

    At the end it prints the figures.

    Args:
      options: of the command.
      network: the run's network, if it is not from `jaxae.models`.
      dataset: the run's dataset; by default it is loaded.

    Raises:
      UserError: an option is out of its range, the run or its dataset cannot be loaded, or the
        files cannot be written.
    """
    evaluated = _evaluate(options, network=network, dataset=dataset)
    print_results(evaluated)
    return evaluated.results


def _evaluate(
    options: Options, *, network: Network | None = None, dataset: data.Dataset | None = None
) -> Evaluated:
    """Evaluates a run and writes the files, as `evaluate_run` does, and prints no figures."""
    started = time.perf_counter()
    _check_options(options)
    config = read_config(options.run)
    step = choose_step(options)
    networks = load_replicas(options.run, step, config, network)
    dataset = load_dataset(
        options.run,
        config,
        given=dataset,
        path=options.dataset,
        data_dir=options.data_dir,
        sources=options.sources,
    )
    images = make_images(dataset, config.options.binarization)
    if networks[0].classes is not None:
        images = with_labels_only(images)
    settings = figures.choose_settings(
        networks[0],
        images,
        config.options.objective,
        samples=options.samples,
        weighed=options.images,
        generated=options.generated,
        seed=options.seed,
    )
    before: Seconds = {}
    after: Seconds = {}
    with stage("features that compare images", seconds=before):
        judge = choose_judge(images)
        real = describe_real(judge, images, settings.generated)
    evaluations = [
        figures.evaluate_network(network, images, settings, judge, real, name)
        for network, name in zip(networks, _names(len(networks)), strict=True)
    ]
    with stage("baselines and references", seconds=after):
        references, missing = reference_figures(networks[0], images, settings, judge, real)
    left_out = {**left_out_of(images), **judge.left_out, **missing}
    results = {
        "run": str(options.run),
        "experiment": config.experiment,
        "dataset": config.dataset.name,
        "examples": "vectors" if images.are_vectors else "images",
        "training_examples": len(images.train.images),
        "validation_examples": dataset.validation_images,
        "binarization": images.binarization,
        "inputs": "the test images, not corrupted",
        "step": step,
        "lowest_loss_on": _lowest_loss_on(options.run, step / config.steps_per_epoch),
        "epoch": step / config.steps_per_epoch,
        "replicas": len(networks),
        "settings": asdict(settings),
        "figures": over_replicas([each.figures for each in evaluations]),
        "references": references,
        "left_out": left_out | {k: v for each in evaluations for k, v in each.left_out.items()},
        "cost": describe_cost(options.run, networks[0], step / config.steps_per_epoch),
        "features": judge.describe(),
        "classifier": judge.describe_classifier(),
        "environment": runs.describe_environment(dataset),
        "evaluation_seconds": time.perf_counter() - started,
    }
    with stage("report", seconds=after):
        explored = options.run / "explore.html"
        beside = options.out is None and explored.exists()
        shown = page.make_page(
            options.run,
            config,
            results,
            networks[0],
            images,
            evaluations[0],
            (("Explore its codes", explored.name),) if beside else (),
        )
        html = pages.render(shown)
    folder = options.out or options.run
    write(folder, results, html)
    each = over_replicas([evaluation.seconds for evaluation in evaluations])
    return Evaluated(results, {**before, **each, **after}, folder)


def _names(replicas: int) -> list[str]:
    """Returns how the stages of each replica's evaluation are told apart."""
    if replicas == 1:
        return [""]
    return [f", replica {number + 1} of {replicas}" for number in range(replicas)]


def _check_options(options: Options) -> None:
    """Raises `UserError` for the first number out of its range."""
    least = {"samples": 1, "images": 1, "generated": LEAST_COMPARED, "seed": 0}
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and not low <= value < 2**31:
            raise UserError(f"--{name} {value}: give {low} or more, and less than {2**31}")


def choose_step(options: Options) -> int:
    """Returns the step of the chosen checkpoint.

    Raises `UserError` if --epoch and --step are both given, or if the run has no such checkpoint.
    """
    folder = options.run / "checkpoints"
    available = checkpoint.steps(folder)
    if not available:
        raise UserError(f"{options.run} has no checkpoint: give a run that has trained")
    if options.epoch is not None and options.step is not None:
        raise UserError("--epoch and --step both choose a checkpoint: give one of them")
    if options.epoch is None and options.step is None:
        best = read_config(options.run).default_step == "best"
    else:
        best = "best" in (options.epoch, options.step)
    if best:
        return checkpoint.best_step(folder, available)
    if isinstance(options.epoch, int):
        return runs.step_of_epoch(options.run, options.epoch, flag="--epoch")
    return checkpoint.latest_step(folder) if options.step is None else int(options.step)


def _lowest_loss_on(run: Path, epoch: float) -> str | None:
    """Returns the images on which an epoch has a run's lowest loss, of those that choose the best.

    They are "validation" or "test"; None if another epoch has it.
    """
    best = runs.best_record(read_records(run))
    if best is None or best["epoch"] != epoch:
        return None
    return "validation" if "validation_loss" in best else "test"


def load_replicas(
    run: Path, step: int, config: Config, network: Network | None = None
) -> list[Trained]:
    """Loads the network of each replica; raises `UserError` like `runs.load`."""
    count = config.options.run.replicas
    return [scaled(runs.load(run, step, replica=each, model=network)) for each in range(count)]


def over_replicas(figures: list[Figures]) -> dict[str, Any]:
    """Returns figures for JSON; several replicas give a mean, a standard deviation and a list."""
    alone = len(figures) == 1
    return runs.flatten_replicas(
        "",
        {
            name: np.array([each[name] for each in figures]) if not alone else figures[0][name]
            for name in figures[0]
            if all(name in each for each in figures)
        },
    )


def describe_cost(run: Path, network: Trained, epochs: float) -> dict[str, float]:
    """Returns a network's parameters and epochs, and the training seconds of all replicas."""
    lines = [line for line in read_records(run) if line["epoch"] <= epochs]
    return {
        "parameters": count_parameters(network.variables),
        "epochs": epochs,
        "training_seconds": sum(line["seconds"] for line in lines),
    }


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
