"""The wheel of this checkout, and an environment that has it installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.commands import REPOSITORY, SECONDS, environment

_OFFLINE = ["--isolated", "--no-deps", "--no-index", "--disable-pip-version-check"]


def tracked_files() -> list[Path]:
    """Returns the tracked files, relative to the checkout; skips the test without git."""
    if not (REPOSITORY / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs a git checkout, to know which files the wheel must hold")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (REPOSITORY / path).is_file()]


def build(folder: Path) -> Path:
    """Builds the wheel from a copy of the tracked files and a stray __pycache__."""
    source = folder / "source"
    for path in tracked_files():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, source / path)
    (source / "jaxae" / "__pycache__").mkdir()
    (source / "jaxae" / "__pycache__" / "data.cpython-311.pyc").write_text("")
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(source))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def _pip(command: str, *arguments: str, interpreter: Path | str = sys.executable) -> None:
    """Runs pip for an interpreter, without an index."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(interpreter), command, *_OFFLINE, *arguments],
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and with the dependencies of the one that runs the tests."""

    folder: Path

    def place(self, kind: str) -> Path:
        """Returns its folder of scripts, or of packages (`purelib`)."""
        base = {"base": str(self.folder), "installed_base": str(self.folder)}
        return Path(sysconfig.get_path(kind, "venv", base))

    def run(self, program: str, *arguments: str, folder: Path) -> str:
        """Runs one of its programs in a folder, and returns its output; fails if it fails."""
        variables = environment(folder)
        del variables["PYTHONPATH"]
        done = subprocess.run(
            [self.place("scripts") / program, *arguments],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def install(wheel: Path, folder: Path) -> Installed:
    """Installs a wheel into a new environment, which sees the dependencies of this one.

    They come later on the import path. Python reads no `.pth` file there, so a checkout that is
    installed as editable stays hidden.
    """
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    installed = Installed(folder)
    _pip("install", str(wheel), interpreter=installed.place("scripts") / "python")
    outer = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (installed.place("purelib") / "outer.pth").write_text("\n".join(outer), encoding="utf-8")
    return installed
