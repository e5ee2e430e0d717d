"""The experiments on a user's own data, whose images may be floats in [0, 1]."""

from pathlib import Path

import numpy as np
import pytest

import deep
from jaxae import cli, files
from jaxae.runs import read_summary

pytestmark = pytest.mark.slow


def test_pca_has_the_same_errors_on_bytes_and_on_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5), np.uint8)
    errors = []
    for name, saved in {"bytes": images, "floats": images / np.float32(255)}.items():
        np.save(f"{name}.npy", saved)
        line = f"--dataset {name}.npy --latent 4 --batch-size 16 --epochs 1 --out {name}"
        deep.main(cli.parse(deep.Options, line.split()))
        errors.append(read_summary(Path(name))["pca_test_mse"])
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)
