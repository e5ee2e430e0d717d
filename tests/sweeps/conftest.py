"""A folder with a small dataset for each test of sweeps."""

from pathlib import Path

import numpy as np
import pytest

from jaxae import files


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts every test in a folder of its own, with 66 images of 8x8 pixels."""
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (66, 8, 8), np.uint8)
    np.savez("tiny.npz", images=images)
