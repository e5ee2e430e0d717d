"""What a start costs: what it imports, and what it keeps compiled for the next one."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import REPOSITORY, SECONDS, environment

SLOW_TO_IMPORT = {"matplotlib", "orbax", "requests", "tensorboardX", "tensorflow_datasets"}

TINY = """
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxae.cli import run_main
from jaxae.runs import RunOptions


@dataclass(frozen=True)
class Options:
    run: RunOptions = RunOptions(epochs=1, batch_size=1, learning_rate=1.0)


def main(options):
    hits = []
    jax.monitoring.register_event_listener(lambda event: hits.append(event.endswith("cache_hits")))
    print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8)))[0, 0], sum(hits))


run_main(main, Options)
"""

# What a machine that is lent for an hour is likely to have. Flax and Optax import absl.
FEW = {"jax", "flax", "optax", "numpy", "scipy", "pillow", "absl-py"}

WITH_FEW = """
import importlib, sys

missing, *modules = sys.argv[1:]


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing.split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
for module in modules:
    importlib.import_module(module)

import experiment_files, gpu_sizes

shape = gpu_sizes.tiled(2).shape[1:]
for name in gpu_sizes.RECIPES:
    experiment = experiment_files.load_experiment(name)
    experiment.make_recipe(experiment.Options(), shape)
"""

HELP_OF_ALL = """
import contextlib, io, os, runpy, sys
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    sys.path[0] = os.path.dirname(path)  # as Python has it when it starts a file
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        runpy.run_path(path, run_name="__main__")
print(*sys.modules)
"""


def run(program: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What a Python program prints; it says nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert done.stderr == ""
    return done.stdout


def users(folder: Path) -> dict[str, str]:
    """The environment of a user whose caches are in a folder, and who has told JAX nothing."""
    told = {name: value for name, value in environment(folder).items() if "JAX" not in name}
    return told | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder)}


def programs(folder: Path) -> dict[Path, bytes]:
    """The compiled programs below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("jit_*") if path.is_file()}


def test_help_imports_nothing_slow_that_it_does_not_need(tmp_path: Path) -> None:
    scripts = map(str, (REPOSITORY / "experiments").glob("*.py"))
    imported = run(HELP_OF_ALL, *scripts, env=environment(tmp_path)).split()
    assert "flax" in imported
    assert not SLOW_TO_IMPORT & {name.partition(".")[0] for name in imported}


def test_modules_import_nothing_slow_that_they_may_not_need(tmp_path: Path) -> None:
    modules = {"jaxae.models", "jaxae.train", "jaxae.data", "jaxae.plots"}
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    imported = run(code, env=environment(tmp_path)).split()
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
    assert {"tensorflow_datasets", "array_record", "grain", "orbax", "tyro"} <= missing
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
    env["PYTHONPATH"] += f":{REPOSITORY / 'experiments'}:{REPOSITORY / 'experiments/speed'}"
    assert run(WITH_FEW, ",".join(missing), *modules, env=env) == ""


def test_what_is_compiled_once_serves_the_next_start(tmp_path: Path) -> None:
    value, hits = run(TINY, env=users(tmp_path)).split()
    assert hits == "0"
    kept = programs(tmp_path)
    assert kept
    again, hits = run(TINY, env=users(tmp_path)).split()
    assert int(hits) == len(kept)
    assert programs(tmp_path) == kept
    without, hits = run(TINY, "--no-compilation-cache", env=users(tmp_path)).split()
    assert hits == "0"
    assert value == again == without


def test_told_so_nothing_is_kept(tmp_path: Path) -> None:
    env = users(tmp_path) | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "told")}
    run(TINY, "--no-compilation-cache", env=env)
    assert not programs(tmp_path)


def test_jax_may_be_told_another_folder(tmp_path: Path) -> None:
    env = users(tmp_path / "user") | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "told")}
    run(TINY, env=env)
    assert programs(tmp_path / "told")
    assert not programs(tmp_path / "user")


@pytest.mark.parametrize("told", [False, True])
def test_a_folder_that_cannot_be_written_costs_time_alone(told: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # permissions would not stop root
    folder = str(tmp_path / "file" / "below")
    env = users(tmp_path) | {"HOME": folder, "XDG_CACHE_HOME": folder}
    env |= {"JAX_COMPILATION_CACHE_DIR": folder} if told else {}
    assert run(TINY, env=env).endswith(" 0\n")


def test_damaged_programs_cost_time_alone(tmp_path: Path) -> None:
    value = run(TINY, env=users(tmp_path))
    for number, (path, content) in enumerate(programs(tmp_path).items()):
        path.write_bytes(content[: len(content) // 2] if number % 2 else b"\0" + content)
    assert run(TINY, env=users(tmp_path)) == value
