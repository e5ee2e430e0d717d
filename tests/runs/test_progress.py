"""The bar of a training run: on terminals and in notebooks only."""

import sys
import types

import pytest

from jaxae.runs import progress


def test_the_bar_is_hidden_where_nobody_watches_it(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.open_bar(10, 0) as bar:
        bar.update(10)
    assert capsys.readouterr().err == ""


def test_the_bar_is_shown_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with progress.open_bar(10, 0) as bar:
        bar.update(10)
    assert "10.0/10.0" in capsys.readouterr().err


def test_the_line_of_an_epoch_has_the_figures_that_were_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pace = {"seconds": 1.5, "images_per_second": 12345.6}
    progress.show_epoch(9, {"epoch": 2, "train_loss": 0.1234567, **pace})
    progress.show_epoch(
        9,
        {
            "epoch": 3,
            "train_loss": 101.26,
            "train_loss_std": 1.4,
            "test_loss": 96.2,
            "test_loss_std": 0.92,
            "test_mse": 0.03,
            "test_mse_std": 0.001,
            **pace,
        },
    )
    assert capsys.readouterr().out.splitlines() == [
        "epoch 2/9  train loss 0.12346  1.50 s  12,346 images/s",
        "epoch 3/9  train loss 101.3 ± 1.4  test loss 96.20 ± 0.92  test MSE 0.0300 ± 0.0010  "
        "1.50 s  12,346 images/s",
    ]
