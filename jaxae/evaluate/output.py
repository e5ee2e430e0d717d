"""What an evaluation leaves: files in a folder, and tables on standard output."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxae import pages
from jaxae.errors import UserError
from jaxae.evaluate.tables import describe_epoch, make_seconds_table, make_tables
from jaxae.files import write_json, write_whole


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of a run."""

    results: dict[str, Any]  # as in evaluation.json
    seconds: dict[str, Any]  # of each stage; over replicas a mean and a standard deviation
    folder: Path  # of evaluation.json and report.html


def write(folder: Path, results: dict[str, Any], page: str) -> None:
    """Writes evaluation.json and report.html, each whole or not at all.

    Raises `UserError` if the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "evaluation.json", results)
        write_whole(folder / "report.html", page)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}): give "
            "another folder with --out"
        ) from None


def print_results(evaluated: Evaluated) -> None:
    """Prints the tables of an evaluation, its epoch, what is left out, and where it was written."""
    results = evaluated.results
    tables = (*make_tables(results), make_seconds_table(evaluated.seconds, results["replicas"]))
    print(pages.as_text(tables), end="\n\n")
    print(describe_epoch(results))
    if results["features"] is not None:
        print(results["features"]["note"])
    for what, why in results["left_out"].items():
        print(f"{what}: left out, because {why}")
    print(f"done: evaluation.json and report.html in {evaluated.folder}")
