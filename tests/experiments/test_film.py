"""experiments/film.py as a user starts it, on a run that was trained before."""

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from support.commands import SECONDS, command, environment, start

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs chromium and chromedriver on PATH",
)
def test_the_film_shows_a_drag_over_the_map(tmp_path: Path) -> None:
    trained = start("latent2d", "--dataset mnist_mini --epochs 1 --out run", tmp_path)
    assert trained.returncode == 0, trained.stderr
    line = "run --images 20 --stops 2 --frames 2 --width 300 --out new/film.gif"
    filmed = subprocess.run(
        command("film", line),
        cwd=tmp_path,
        env={**environment(tmp_path), "NO_PROXY": "localhost"},  # of the browser's driver
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert filmed.returncode == 0, filmed.stderr
    assert filmed.stdout.splitlines()[-1].startswith("done: new/film.gif, ")
    with Image.open(tmp_path / "new/film.gif") as film:
        assert film.width == 300
        assert getattr(film, "n_frames", 1) == 4
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"film.gif"}


def test_a_film_has_two_frames_or_more(tmp_path: Path) -> None:
    process = start("film", "run --frames 1", tmp_path)
    assert process.returncode == 2
    assert process.stderr == "error: --frames 1: give 2 or more\n"
