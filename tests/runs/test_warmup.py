"""Runs whose KL term is warmed up: their records, and resumed, binarized and replicated runs."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxae
from jaxae import cli, runs
from jaxae.commands import train
from support import small_fit, small_run
from support.small_run import lines_of

pytestmark = pytest.mark.slow

compiled_once, small_data = small_run.compiled_once, small_run.small_data

# Seven steps in an epoch, so that the weight is 1 from the fifteenth step on.
LINE = "--objective vae --hidden 8 --latent 3 --batch-size 16 --kl-warmup 2"
WEIGHTS = np.minimum(np.arange(21) / 14, 1).reshape(3, 7)
SIZES = [16] * 6 + [4]


def go(folder: Path, line: str = LINE, epochs: int = 3) -> list[dict[str, Any]]:
    """Trains a run, or resumes the one in the folder, and returns its records without times."""
    if folder.exists():
        full = f"--resume {folder} --epochs {epochs}"
    else:
        full = f"{line} --dataset mnist --epochs {epochs} --out {folder}"
    train.main(cli.parse(train.Options, full.split()))
    return lines_of(folder)


def assert_close(lines: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    assert [line.keys() for line in lines] == [line.keys() for line in others]
    for line, other in zip(lines, others, strict=True):
        for name in line.keys() - {"dataset"}:
            np.testing.assert_allclose(line[name], other[name], rtol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm") / "whole"
    go(folder)
    return folder


def test_the_weight_grows_in_training_and_is_full_in_tests(whole: Path) -> None:
    lines = lines_of(whole)
    expected = WEIGHTS @ SIZES / 100
    np.testing.assert_allclose([line["train_kl_weight"] for line in lines], expected, rtol=1e-5)
    for line in lines:
        assert "test_kl_weight" not in line
        full = line["test_reconstruction"] + line["test_kl"]
        np.testing.assert_allclose(line["test_loss"], full, rtol=1e-5)
        assert line["train_reconstruction"] < line["train_loss"]
    assert lines[0]["train_loss"] < lines[0]["train_negative_elbo"]
    np.testing.assert_allclose(lines[2]["train_loss"], lines[2]["train_negative_elbo"], rtol=1e-5)


def test_without_a_warm_up_nothing_is_counted(tmp_path: Path) -> None:
    (line,) = go(tmp_path / "run", LINE.replace("--kl-warmup 2", ""), epochs=1)
    assert not [name for name in line if "weight" in name]
    variables = runs.load(tmp_path / "run").variables
    assert variables.keys() == {"params"}


def test_resumed_equals_uninterrupted_and_each_start_warns_if_it_ends_early(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "warning: --kl-warmup 2 is longer than this run of --epochs 1"
    go(tmp_path / "part", epochs=1)
    assert capsys.readouterr().err.count(warning) == 1
    go(tmp_path / "part", epochs=1)
    assert capsys.readouterr().err.count(warning) == 1
    assert_close(go(tmp_path / "part"), lines_of(whole))
    assert "--kl-warmup" not in capsys.readouterr().err


@pytest.mark.parametrize("binarization", ["dynamic", "static"])
@pytest.mark.parametrize("objective", ["vae", "capacity"])
def test_a_warm_up_of_binarized_images(objective: str, binarization: str, tmp_path: Path) -> None:
    line = LINE.replace("vae", objective) + f" --binarization {binarization}"
    lines = go(tmp_path / "run", line, epochs=2)
    expected = WEIGHTS[:2] @ SIZES / 100
    np.testing.assert_allclose([line["train_kl_weight"] for line in lines], expected, rtol=1e-5)
    images = runs.binarized_test(jaxae.data.load("mnist")).images
    assert set(np.unique(images)) == {0, 255}
    mse = np.square(runs.load(tmp_path / "run").reconstruct(images) - images / 255.0).mean()
    np.testing.assert_allclose(lines[-1]["test_mse"], mse, rtol=1e-4)


def test_replicas_are_separate_runs(whole: Path, tmp_path: Path) -> None:
    both = go(tmp_path / "both", f"{LINE} --replicas 2")
    second = go(tmp_path / "second", f"{LINE} --seed 1")
    for index, alone in enumerate((lines_of(whole), second)):
        for line, other in zip(both, alone, strict=True):
            for name in ("train_loss", "train_kl_weight", "test_loss"):
                number = line[f"{name}_replicas"][index]
                np.testing.assert_allclose(number, other[name], rtol=1e-5)


def test_half_an_epoch_in_python(tmp_path: Path) -> None:
    images = small_fit.DIGITS / 16
    options = {**small_fit.OPTIONS, "batch_size": 16, "kl_warmup": 0.5}
    run = jaxae.fit(images[:96], "iwae", test=images[96:], out=tmp_path / "run", **options)
    expected = [np.minimum(np.arange(6) / 3, 1).mean(), 1]
    np.testing.assert_allclose(run.history["train_kl_weight"], expected, rtol=1e-5)
    steps = run.variables["kl_warmup"]["steps"]
    assert jax.numpy.array_equal(steps, 12)
