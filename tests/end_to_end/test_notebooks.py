"""Notebooks are committed without outputs, and run from top to bottom as a user's kernel does."""

from pathlib import Path

import nbformat
import pytest

from support.commands import REPOSITORY, environment, run_program

TOUR = REPOSITORY / "experiments" / "tour.ipynb"


def test_the_tour_holds_no_outputs() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)
    assert str(Path.home()) not in TOUR.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_tour_goes_the_whole_way(tmp_path: Path) -> None:
    variables = {**environment(tmp_path), "TOUR_EPOCHS": "2", "TMPDIR": str(tmp_path)}
    # Strictness is for the tests' own code; scikit-learn and a user's cells promote dtypes.
    for name in ("JAX_NUMPY_RANK_PROMOTION", "JAX_NUMPY_DTYPE_PROMOTION"):
        variables.pop(name, None)
    done = tmp_path / "done.ipynb"
    process = run_program(
        "run_notebook", str(TOUR), str(done), folder=tmp_path, variables=variables
    )
    assert process.returncode == 0, process.stderr
    notebook = nbformat.read(done, as_version=4)
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    said = "".join(each.text for each in outputs if each.output_type == "stream")
    assert "12 epochs, lowest test loss" in said
    assert "Warning" not in said
    shown = [set(each.data) for each in outputs if "data" in each]
    assert sum("text/html" in kinds for kinds in shown) == 3  # runs
    assert sum("image/png" in kinds for kinds in shown) == 5  # pictures
    (folder,) = [path.parent for path in tmp_path.rglob("evaluation.json")]
    left = {path.name for path in folder.iterdir()}
    assert {"config.json", "metrics.jsonl", "report.html", "summary.json"} <= left
