"""Makes the page of results: trains every recipe whole, from several seeds, and tabulates them.

    python experiments/report.py --run
    python experiments/report.py results/fashion/RUN results/vae/RUN ...

The first command trains the recipes of report_recipes.py at their full length from five seeds each,
evaluates them, and writes a page; it takes about an hour and a half on two cores, can be killed,
and goes on where it was. The second makes the same page of runs that are finished. The page goes to
results/report; --out results replaces the one that the repository keeps.

results/pytorch.json holds the figures of the same recipes in PyTorch, which
`python experiments/speed/pytorch_trainings.py` measures.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import jobs
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.pages import rewrite, sections_of
from report_page import Finished, page_of, read
from report_recipes import RECIPES, Peers, Wanted, published_epochs, read_peers


@dataclass(frozen=True)
class Options:
    """Writes a page of results."""

    # folders of finished runs, in the order of the page (default: those of --run)
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")] = ()

    # --- training ---
    run: bool = False  # train and evaluate the recipes that have not finished
    recipes: tuple[str, ...] = tuple(RECIPES)  # recipes to train
    seeds: int = 5  # number of seeds of each recipe
    epochs: int | None = None  # number of epochs (default: each recipe's own)
    folder: Path = Path("results/recipes")  # folder to write the runs to

    # --- data ---
    dataset: str | None = None  # dataset to train on (default: each recipe's own)
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None

    # --- output ---
    pytorch: Path = Path("results/pytorch.json")  # file with the figures of PyTorch, if it exists
    out: Path = Path("results/report")  # folder to write README.md and pictures/ to


def main(options: Options) -> None:
    """Trains what is missing, reads the runs, then writes the page and its pictures."""
    _check_options(options)
    peers = read_peers(options.pytorch)
    folders = [_train(RECIPES[name], options) for name in options.recipes] if options.run else []
    finished = [read(folder) for folder in (*folders, *options.runs)]  # before anything is written
    names = [run.name for run in finished]
    if len(set(names)) < len(names):
        raise UserError(
            f"several runs were started as {max(names, key=names.count)}: give only one of them"
        )
    _write(finished, peers, options.out)
    print(f"the page is {options.out / 'README.md'}")


def _check_options(options: Options) -> None:
    """Raises `UserError` for options that would otherwise fail only after the training."""
    if options.run == bool(options.runs):
        raise UserError(
            "give --run, which trains the recipes, or the folders of finished runs, and not both"
        )
    for name, value in (("seeds", options.seeds), ("epochs", options.epochs)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: give 1 or more")
    unknown = sorted(set(options.recipes) - RECIPES.keys())
    if unknown or not options.recipes or len(set(options.recipes)) < len(options.recipes):
        given = unknown[:1] or options.recipes
        raise UserError(
            f"--recipes {' '.join(given)}: give some of {', '.join(RECIPES)}, each once"
        )


def _train(wanted: Wanted, options: Options) -> Path:
    """Trains and evaluates a recipe unless that is done; returns the run's folder."""
    epochs = options.epochs or published_epochs(wanted.experiment)
    folder = options.folder / f"{wanted.name}-{epochs}x{options.seeds}"
    places = jobs.places(options.data_dir, options.sources)
    named = [] if options.dataset is None else ["--dataset", options.dataset]
    how = [*shlex.split(wanted.arguments), "--epochs", str(epochs)]
    how += ["--replicas", str(options.seeds), *named, *places]
    program = Path(__file__).with_name(f"{wanted.experiment}.py")
    jobs.train([program.as_posix()], how, folder, epochs)
    # Few generated images: the page does not show their figures.
    jobs.evaluate(folder, ["--generated", "1000", *places])
    return folder


def _write(finished: list[Finished], peers: Peers, out: Path) -> None:
    """Writes the page, keeps the sections that other commands made, and copies the pictures."""
    text = page_of(finished, peers, out / "pictures")

    def renew(page: str) -> str:
        return "\n\n".join(part.strip() for part in (*text, *sections_of(page))) + "\n"

    rewrite(out / "README.md", renew)


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
