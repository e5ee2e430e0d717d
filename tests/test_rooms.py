"""The rooms of jaxae: which imports which, only from its `__init__`, and without cycles."""

import ast
import graphlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import jaxae

PACKAGE = Path(jaxae.__file__).parent

# The rooms that each room imports: a folder, or a file beside the folders.
ALLOWED = {
    "__main__": "commands",
    "fitting": "errors files devices likelihoods data train network family checkpoint plots pages "
    "priors runs cli evaluate explore exports commands",
    "sweeps": "errors devices data models train family checkpoint runs cli comparison commands",
    "comparison": "errors devices data checkpoint pages plots family runs evaluate",
    "explore": "errors files data metrics models network plots pages priors programs runs cli "
    "evaluate train",
    "exports": "errors files checkpoint data likelihoods models train network plots pages programs "
    "runs cli evaluate",
    "commands": "errors terminal latents likelihoods data models train network family plots priors "
    "runs cli evaluate comparison files pages",
    "evaluate": "errors files devices latents likelihoods data metrics models train network "
    "objectives family checkpoint plots pages priors runs cli",
    "cli": "errors files devices terminal data checkpoint runs",
    "runs": "errors files devices likelihoods data metrics models train network objectives "
    "checkpoint plots",
    "pages": "errors files plots",
    "family": "errors models train network objectives",
    "priors": "errors models network",
    "programs": "errors data likelihoods models network",
    "objectives": "errors losses metrics models train network",
    "network": "errors data likelihoods models train",
    "checkpoint": "errors files devices",
    "train": "errors devices data",
    "models": "errors files convolutions",
    "likelihoods": "errors losses",
    "data": "errors files devices",
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
    """Returns the folder of a file of the package, or the file itself if it is in none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the modules of the package that a file imports, and the names from each."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxae":
            assert node.module is not None
            yield node.module, tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "jaxae":
                    yield alias.name, ()


def rooms_imported(module: str, names: tuple[str, ...]) -> set[str]:
    """Returns the rooms that an import reaches; none for names of `jaxae` itself."""
    return set(module.split(".")[1:2] or (name for name in names if name in ALLOWED))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_each_room_imports_exactly_the_allowed_rooms() -> None:
    found: dict[str, set[str]] = {room: set() for room in ALLOWED}
    for path in FILES:
        room = room_of(path)
        for module, names in imports(path):
            found[room] |= rooms_imported(module, names) - {room}
    assert {room: sorted(others) for room, others in found.items()} == {
        room: sorted(others.split()) for room, others in ALLOWED.items()
    }


def test_imports_between_rooms_have_no_cycle() -> None:
    order = graphlib.TopologicalSorter({room: set(ALLOWED[room].split()) for room in ALLOWED})
    assert set(order.static_order()) == set(ALLOWED)  # raises CycleError for a cycle


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_other_folders_only_by_their_doors(path: Path) -> None:
    room = room_of(path)
    for module, names in imports(path):
        inner = module.split(".")[1:]
        if not inner or inner[0] == room:
            continue
        assert len(inner) == 1, f"{module} is behind the door of jaxae.{inner[0]}"
        exported = door_names(importlib.import_module(module))
        assert exported is None or set(names) <= exported, f"{module} does not export {names}"


def test_experiments_import_the_package_only_by_its_doors() -> None:
    for path in sorted((PACKAGE.parent / "experiments").rglob("*.py")):
        for module, _ in imports(path):
            inner = module.split(".")[1:]
            assert len(inner) < 2, f"{path.name} imports {module}, which is behind a door"


@pytest.mark.parametrize("room", sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py")))
def test_a_door_has_a_docstring_and_exports(room: str) -> None:
    door = importlib.import_module(f"jaxae.{room}")
    assert door.__doc__
    exported = door_names(door)
    assert exported
    assert not any(name.startswith("_") for name in exported)


def door_names(module: ModuleType) -> set[str] | None:
    """Returns the names that a folder's door exports; None for a file beside the folders."""
    return set(module.__all__) if hasattr(module, "__path__") else None
