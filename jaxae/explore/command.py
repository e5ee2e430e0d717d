"""Makes a page that explores the codes of a trained run, and decodes them in the browser.

    jaxae explore results/family/RUN

Writes explore.html into the run's folder: one file without a server or a connection, which any
browser opens. It has the network in half precision, a map of the codes of test images that decodes
where you drag, sliders for the numbers of a code, paths between images, arithmetic of classes, new
codes of each prior, and your own drawing or picture through the network.

Takes about a minute on two cores for codes of 20 numbers, mostly to fit the priors.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxae import cli, data, evaluate, runs
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.explore.exploration import MOST_IMAGES, explore
from jaxae.explore.page import SavedPage, render
from jaxae.files import write_whole
from jaxae.models import count_parameters
from jaxae.network import Trained
from jaxae.pages import check_page
from jaxae.runs import load_dataset, read_config


@dataclass(frozen=True)
class Options:
    """Makes a page that explores the codes of a trained run."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of the run to explore

    # --- checkpoint ---
    # epoch of the checkpoint to explore, or best for the lowest validation loss, or test loss if
    # the run has no validation images (default: the latest, or of a run with --patience the best)
    epoch: int | Literal["best"] | None = None

    # --- page ---
    # largest number of test images to show; fewer if images or codes are large
    images: int = MOST_IMAGES
    seed: int = 0  # seed of the priors' fits and codes, and of UMAP

    # --- data ---
    # path of the data of your own that the run was trained on (default: where it was last read)
    dataset: str | None = None
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None

    # --- output ---
    out: Path | None = None  # file to write (default: RUN/explore.html)


def main(options: Options) -> None:
    """Makes the page of a run."""
    cli.use_cache(wanted=True)
    path = explore_run(options).path
    print(f"done: {path}, {path.stat().st_size / 1e6:.1f} MB; open it in a browser")


def explore_run(
    options: Options,
    *,
    step: int | None = None,
    trained: Trained | None = None,
    dataset: data.Dataset | None = None,
) -> SavedPage:
    """Writes the page of a run, and returns it.

    Args:
      options: of the command.
      step: the step of the checkpoint, in place of the option.
      trained: the run's network at that step; by default its first replica is loaded.
      dataset: the run's dataset; by default it is loaded.

    Raises:
      UserError: an option is out of its range, the run or its dataset cannot be loaded, or it
        cannot be explored.
    """
    _check_options(options)
    config = read_config(options.run)
    if step is None:
        step = evaluate.choose_step(evaluate.Options(options.run, epoch=options.epoch))
    trained = evaluate.scaled(trained or runs.load(options.run, step))
    dataset = load_dataset(
        options.run,
        config,
        given=dataset,
        path=options.dataset,
        data_dir=options.data_dir,
        sources=options.sources,
    )
    path = options.out or options.run / "explore.html"
    report = options.run / "report.html"
    beside = path.parent.resolve() == options.run.resolve() and report.exists()
    epoch, replicas = step / config.steps_per_epoch, config.options.run.replicas
    exploration = explore(
        trained,
        evaluate.make_images(dataset, config.options.binarization),
        title=f"{config.label} on {dataset.name}",
        subtitle=f"{epoch:.4g} epoch{'' if epoch == 1 else 's'}, "
        f"{count_parameters(trained.variables):,} parameters"
        + (f", one of {replicas} replicas" if replicas > 1 else ""),
        most=options.images,
        seed=options.seed,
        report=report.name if beside else None,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(exploration))
    return SavedPage(path)


def _check_options(options: Options) -> None:
    """Raises `UserError` for an option out of its range."""
    if options.images < 1:
        raise UserError(f"--images {options.images}: give 1 or more")
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed {options.seed}: give 0 or more, and less than {2**31}")
    if options.out is not None:
        check_page("--out", options.out)
    place = options.out or options.run / "explore.html"
    above = next(folder for folder in place.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(f"{place} cannot be written, because of {above}: give another file (--out)")


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
