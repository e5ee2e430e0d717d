"""The rooms of jaxae: which folder may import which, by its door alone, and in no circle."""

import ast
import graphlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import jaxae

PACKAGE = Path(jaxae.__file__).parent

# What each folder, or file beside the folders, may import: one way, from the bottom to the top.
ALLOWED = {
    "__main__": "commands",
    "commands": "errors terminal latents likelihoods models train network family plots priors runs "
    "cli evaluate",
    "evaluate": "errors files latents likelihoods data metrics models train network objectives "
    "family checkpoint plots pages priors runs cli",
    "cli": "errors files devices terminal data runs",
    "runs": "errors files devices likelihoods data models train network objectives checkpoint "
    "plots",
    "pages": "errors files plots",
    "family": "errors models train network objectives",
    "priors": "errors models network",
    "objectives": "errors losses metrics models train network",
    "network": "errors likelihoods models train",
    "checkpoint": "errors files devices",
    "train": "errors devices data",
    "models": "errors files convolutions",
    "likelihoods": "errors losses",
    "data": "errors files",
    "plots": "errors files",
    "metrics": "errors",
    "latents": "errors",
    "losses": "errors",
    "convolutions": "",
    "files": "errors devices",
    "devices": "errors",
    "errors": "",
    "terminal": "",
}


def room_of(path: Path) -> str:
    """The folder of a file of the package, or the file itself where it lies beside the folders."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a file imports of the package: the module as written, and the names out of it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxae":
            assert node.module is not None
            yield node.module, tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "jaxae":
                    yield alias.name, ()


def rooms_imported(module: str, names: tuple[str, ...]) -> set[str]:
    """The rooms that an import of the package reaches; none for what `jaxae` itself offers."""
    return set(module.split(".")[1:2] or (name for name in names if name in ALLOWED))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_each_room_imports_only_what_it_may() -> None:
    found: dict[str, set[str]] = {room: set() for room in ALLOWED}
    for path in FILES:
        room = room_of(path)
        for module, names in imports(path):
            found[room] |= rooms_imported(module, names) - {room}
    assert {room: sorted(others) for room, others in found.items()} == {
        room: sorted(others.split()) for room, others in ALLOWED.items()
    }


def test_no_room_is_its_own_ground() -> None:
    order = graphlib.TopologicalSorter({room: set(ALLOWED[room].split()) for room in ALLOWED})
    assert set(order.static_order()) == set(ALLOWED)  # which raises CycleError for a circle


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_reaches_other_rooms_by_their_doors(path: Path) -> None:
    room = room_of(path)
    for module, names in imports(path):
        inner = module.split(".")[1:]
        if not inner or inner[0] == room:
            continue
        assert len(inner) == 1, f"{module} lies behind the door of jaxae.{inner[0]}"
        offered = door_names(importlib.import_module(module))
        assert offered is None or set(names) <= offered, f"{module} does not offer {names}"


def test_experiments_reach_the_package_by_its_doors() -> None:
    for path in sorted((PACKAGE.parent / "experiments").rglob("*.py")):
        for module, _ in imports(path):
            inner = module.split(".")[1:]
            assert len(inner) < 2, f"{path.name} imports {module}, which lies behind a door"


@pytest.mark.parametrize("room", sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py")))
def test_a_door_says_what_it_offers(room: str) -> None:
    door = importlib.import_module(f"jaxae.{room}")
    assert door.__doc__
    offered = door_names(door)
    assert offered
    assert not any(name.startswith("_") for name in offered)


def door_names(module: ModuleType) -> set[str] | None:
    """The names that a folder's door offers; None for a file beside the folders."""
    return set(module.__all__) if hasattr(module, "__path__") else None
