"""The wheel of this checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import REPOSITORY, SECONDS

OFFLINE = ["--isolated", "--no-deps", "--no-index", "--disable-pip-version-check"]


def tracked_files() -> list[Path]:
    """The files of this checkout that git knows, relative to it; skips where there is no git."""
    if not (REPOSITORY / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs a git checkout, to know which files the wheel must hold")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (REPOSITORY / path).is_file()]


def build(folder: Path) -> Path:
    """Builds the wheel from a copy of the tracked files, with what an import leaves beside them."""
    source = folder / "source"
    for path in tracked_files():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, source / path)
    (source / "jaxae" / "__pycache__").mkdir()
    (source / "jaxae" / "__pycache__" / "data.cpython-311.pyc").write_text("")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(source))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def pip(command: str, *arguments: str, interpreter: Path | str = sys.executable) -> None:
    """Runs pip for an interpreter, without an index."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(interpreter), command, *OFFLINE, *arguments],
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )
