"""The script that fits members on scikit-learn's data, and writes their figures."""

from pathlib import Path

import pytest

import sklearn_data


@pytest.mark.slow
def test_the_table_has_a_row_for_each_dataset_and_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sklearn_data.py", "--epochs", "1"])
    page = tmp_path / "page.md"
    sklearn_data.main(sklearn_data.Options(epochs=1, folder=tmp_path / "runs", page=page))
    head, _, *rows = (
        line.strip("| ").split(" | ") for line in page.read_text().splitlines() if line[:1] == "|"
    )
    assert [row[:2] for row in rows] == [
        ["digits", "vae"],
        ["digits", "rae-l2"],
        ["breast-cancer", "vae"],
        ["breast-cancer", "rae-l2"],
    ]
    cells = {name: [row[index] for row in rows] for index, name in enumerate(head)}
    assert "-" not in cells["MSE"] + cells["MSE of PCA"] + cells["linear probe of the data"]
    assert [cell == "-" for cell in cells["NLL, nats"]] == [False, True, False, True]
    assert [cell == "-" for cell in cells["R²"]] == [True, True, False, False]
