"""The bundled subsets are what their script makes from the original archives."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from jaxae.data.bundled import make
from jaxae.data.prepared import verified
from support import tiny


def test_first_of_each_class_keeps_the_order() -> None:
    labels = np.array([*range(10), *range(9, -1, -1), *range(10)])
    np.testing.assert_array_equal(make.first_of_each_class(labels, 2), np.arange(20))


def test_bytes_do_not_depend_on_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = tiny.arrays(seed=0)
    first = make.npz_bytes(arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert make.npz_bytes(arrays) == first


@pytest.mark.slow
@pytest.mark.parametrize("name", list(verified.ARRAYS))
def test_the_committed_file_is_what_the_script_makes(name: str, sources: Path) -> None:
    committed = resources.files("jaxae.data.bundled") / f"{name}.npz"
    assert committed.read_bytes() == make.made(name, sources)
    assert len(committed.read_bytes()) < 3e6


@pytest.mark.slow
def test_a_missing_source_is_a_clear_error(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "jaxae.data.bundled.make",
        "--sources",
        tmp_path,
        "--out",
        tmp_path,
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert "has no subfolder mnist" in result.stderr
    assert list(tmp_path.iterdir()) == []
