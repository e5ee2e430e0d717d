"""Fits members on two datasets that scikit-learn brings along: digits, and a table of vectors.

    python experiments/sklearn_data.py

Trains a VAE and a regularized autoencoder with `jaxae.fit` on 8x8 digits, whose pixels are 0 to 16,
and on the 30 columns of the breast-cancer table, evaluates them, and puts their figures into
results/README.md. About two minutes on two cores.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sklearn.datasets import load_breast_cancer, load_digits

import jaxae
from jaxae import runs
from jaxae.cli import run_tool
from jaxae.files import read_json
from jaxae.pages import markdown_table, put_section

_COLUMNS = {
    "test_mse": "MSE",
    "pca_test_mse": "MSE of PCA",
    "test_r_squared": "R²",
    "negative_log_likelihood": "NLL, nats",
    "fid": "FID, prior",
    "linear_probe_accuracy": "linear probe",
    "pixels_linear_probe_accuracy": "linear probe of the data",
    "active_units": "active units",
}


@dataclass(frozen=True)
class Options:
    """Fits members on scikit-learn's digits and breast-cancer table."""

    epochs: int = 100  # number of passes over the training examples

    # --- output ---
    folder: Path = Path("results/sklearn")  # folder to write the runs to
    page: Path = Path("results/README.md")  # file to put the table into


def main(options: Options) -> None:
    """Trains and evaluates each member on each dataset, and writes the table."""
    digits, table = cast(Any, load_digits()), cast(Any, load_breast_cancer())
    sets: dict[str, dict[str, Any]] = {
        "digits": {"images": digits.images, "labels": digits.target, "scale": "minmax"},
        "breast-cancer": {"images": table.data, "labels": table.target},
    }
    rows = []
    for name, given in sets.items():
        likelihood = "gaussian" if name == "digits" else None
        for member in ("vae", "rae-l2"):
            run = jaxae.fit(
                **given,
                objective=member,
                name=name,
                latent=8,
                hidden=(128,),
                likelihood=likelihood,
                epochs=options.epochs,
                batch_size=64,
                out=options.folder / f"{name}-{member}",
            )
            figures = run.evaluate()
            figures |= read_json(run.folder / "evaluation.json")["references"]
            cells = [
                runs.format_figure(figures, key) if key in figures else "-" for key in _COLUMNS
            ]
            rows.append([name, member, *cells])
    put_section(options.page, "sklearn", _make_section(rows, options))
    print(f"the table is in {options.page}")


def _make_section(rows: list[list[str]], options: Options) -> str:
    """Returns the section as Markdown."""
    return "\n\n".join(
        [
            "## Digits and a table, from Python",
            f"    {runs.portable(shlex.join(runs.command_line(sys.argv)))}",
            "Codes of 8 numbers, one hidden layer of 128, "
            f"{options.epochs} epochs of `jaxae.fit`. A tenth of the examples is held out. Digits "
            "are scaled to [0, 1]; the columns of the table are standardized, and its errors are "
            f"in those units. Commit {runs.git_commit()}.",
            markdown_table(["data", "member", *_COLUMNS.values()], rows),
        ]
    )


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
