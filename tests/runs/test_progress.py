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
