"""The cost of starting: which packages are imported, and which programs are kept compiled."""

import importlib.metadata
import re
from pathlib import Path

import pytest

from support.commands import REPOSITORY, environment, run_program

pytestmark = pytest.mark.slow

SLOW_TO_IMPORT = {"matplotlib", "orbax", "requests", "tensorboardX", "tensorflow_datasets"}

# Packages that a machine rented for an hour is likely to have. Flax imports absl and rich.
FEW = {"jax", "flax", "optax", "numpy", "scipy", "pillow", "absl-py", "rich", "jaxtyping"}


def run(name: str, *arguments: str, variables: dict[str, str]) -> str:
    """The output of a program of tests/programs, which must print nothing on stderr."""
    done = run_program(name, *arguments, variables=variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def users(folder: Path) -> dict[str, str]:
    """An environment whose caches are in a folder, without settings of JAX's own cache."""
    told = {name: value for name, value in environment(folder).items() if "JAX" not in name}
    return told | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder)}


def programs(folder: Path) -> dict[Path, bytes]:
    """The compiled programs in a folder and below."""
    return {path: path.read_bytes() for path in folder.rglob("jit_*") if path.is_file()}


def test_help_imports_nothing_slow_that_it_does_not_need(tmp_path: Path) -> None:
    scripts = map(str, (REPOSITORY / "experiments").glob("*.py"))
    imported = run("help_of_all", *scripts, variables=environment(tmp_path)).split()
    assert "flax" in imported
    assert not SLOW_TO_IMPORT & {name.partition(".")[0] for name in imported}


def test_modules_import_nothing_slow_that_they_may_not_need(tmp_path: Path) -> None:
    modules = {"jaxae.models", "jaxae.train", "jaxae.data", "jaxae.plots"}
    imported = run("import_modules", *modules, variables=environment(tmp_path)).split()
    assert modules <= set(imported)
    assert not SLOW_TO_IMPORT & {name.partition(".")[0] for name in imported}


def test_networks_objectives_and_recipes_need_few_packages(tmp_path: Path) -> None:
    names = (re.split(r"[^\w-]", line)[0] for line in importlib.metadata.requires("jaxae") or ())
    needed = {name.lower().replace("_", "-") for name in names} - FEW
    missing = {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if needed & {name.lower().replace("_", "-") for name in distributions}
    }
    assert {"tensorflow_datasets", "array_record", "orbax", "tyro"} <= missing
    package = ["objectives", "likelihoods", "losses", "family", "devices", "network", "runs", "cli"]
    modules = ["jaxae.train", "jaxae.models", *(f"jaxae.{name}" for name in package)]
    modules += [
        "jaxae.commands.train",
        "conv",
        "deep",
        "denoise",
        "family",
        "fashion",
        "latent2d",
        "latent3d",
        "vae",
        "gpu",
    ]
    env = environment(tmp_path)
    assert run("import_with_few_packages", ",".join(missing), *modules, variables=env) == ""


def test_the_next_start_reuses_compiled_programs(tmp_path: Path) -> None:
    value, hits = run("print_cache_hits", variables=users(tmp_path)).split()
    assert hits == "0"
    kept = programs(tmp_path)
    assert kept
    again, hits = run("print_cache_hits", variables=users(tmp_path)).split()
    assert int(hits) == len(kept)
    assert programs(tmp_path) == kept
    without, hits = run(
        "print_cache_hits", "--no-compilation-cache", variables=users(tmp_path)
    ).split()
    assert hits == "0"
    assert value == again == without


def test_the_cache_can_be_turned_off(tmp_path: Path) -> None:
    env = users(tmp_path) | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "told")}
    run("print_cache_hits", "--no-compilation-cache", variables=env)
    assert not programs(tmp_path)


def test_a_folder_that_jax_is_configured_with_is_used(tmp_path: Path) -> None:
    env = users(tmp_path / "user") | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "told")}
    run("print_cache_hits", variables=env)
    assert programs(tmp_path / "told")
    assert not programs(tmp_path / "user")


@pytest.mark.parametrize("told", [False, True])
def test_a_folder_that_cannot_be_written_costs_only_time(told: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # permissions would not stop root
    folder = str(tmp_path / "file" / "below")
    env = users(tmp_path) | {"HOME": folder, "XDG_CACHE_HOME": folder}
    env |= {"JAX_COMPILATION_CACHE_DIR": folder} if told else {}
    assert run("print_cache_hits", variables=env).endswith(" 0\n")


def test_damaged_programs_cost_only_time(tmp_path: Path) -> None:
    value = run("print_cache_hits", variables=users(tmp_path))
    for number, (path, content) in enumerate(programs(tmp_path).items()):
        path.write_bytes(content[: len(content) // 2] if number % 2 else b"\0" + content)
    assert run("print_cache_hits", variables=users(tmp_path)) == value
