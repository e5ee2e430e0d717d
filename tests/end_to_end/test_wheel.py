"""The wheel: its files and requirements, and that it suffices to train, evaluate and load."""

import ast
import email
import importlib.metadata
import json
import re
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import jaxae
from support.commands import REPOSITORY, program
from support.wheels import build, install, tracked_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def normalized(distribution: str) -> str:
    """The normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported_by(path: Path) -> set[str]:
    """The packages that a file imports anywhere."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"
            modules.add(node.module or "")
    return {module.partition(".")[0] for module in modules}


def test_it_holds_the_files_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {path.as_posix() for path in tracked_files() if path.parts[0] == "jaxae"}
    assert "jaxae/py.typed" in held


def test_it_requires_all_that_it_imports(wheel: Path) -> None:
    required = {
        normalized(re.split(r"[^\w.-]", line)[0])
        for line in metadata_of(wheel).get_all("Requires-Dist", [])
        if "extra ==" not in line or re.search(r"extra == .hf.", line)
    }
    paths = [REPOSITORY / path for path in tracked_files() if path.parts[0] == "jaxae"]
    imported = set().union(*(imported_by(path) for path in paths if path.suffix == ".py"))
    distributions = importlib.metadata.packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"jaxae"}
    assert {"jax", "tyro", "tensorflow_datasets"} <= foreign
    unmet = {
        module
        for module in foreign
        if not required & {normalized(name) for name in distributions[module]}
    }
    assert unmet == set()


def test_its_version_is_that_of_the_package(wheel: Path) -> None:
    assert metadata_of(wheel)["Version"] == jaxae.__version__


def test_it_is_enough_to_train_to_evaluate_and_to_load(wheel: Path, tmp_path: Path) -> None:
    installed, folder = install(wheel, tmp_path / "environment"), tmp_path / "elsewhere"
    folder.mkdir()
    line = "train --dataset mnist_mini --epochs 1 --hidden 16 --latent 3 --out run"
    said = installed.run("jaxae", *line.split(), folder=folder)
    assert said.splitlines()[-1] == "done: pictures and summary.json in run"
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["command"] == f"jaxae {line}"
    assert config["git_commit"] is None
    line = "evaluate run --samples 2 --images 5 --generated 10"
    said = installed.run("jaxae", *line.split(), folder=folder)
    assert said.splitlines()[-1] == "done: evaluation.json and report.html in run"
    _, *line = program("load_run")
    package, shape = installed.run("python", *line, folder=folder).split(" ", 1)
    assert Path(package).is_relative_to(installed.folder)
    assert shape == "(2, 3)\n"
