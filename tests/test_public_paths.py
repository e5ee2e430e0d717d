"""The paths that users import, call and start: they stay, whatever moves behind them."""

import importlib
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import pytest

import jaxae
from jaxae import models
from support.commands import SECONDS, environment, run_program

MODULES = [
    "checkpoint",
    "data",
    "family",
    "latents",
    "likelihoods",
    "losses",
    "models",
    "objectives",
    "priors",
    "runs",
    "train",
]
NETWORKS = ["conv", "deep", "denoise", "fashion", "latent2d", "latent3d", "vae"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_imported_from_the_package(name: str) -> None:
    """`from jaxae import train`, and `import jaxae.train`."""
    found: dict[str, object] = {}
    exec(f"from jaxae import {name}", found)
    assert found[name] is importlib.import_module(f"jaxae.{name}")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_an_attribute_of_the_package(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`jaxae.train` after `import jaxae` alone, without what an earlier import has set."""
    module = importlib.import_module(f"jaxae.{name}")
    monkeypatch.delattr(jaxae, name)
    assert getattr(jaxae, name) is module
    assert name in dir(jaxae)


@pytest.mark.slow
def test_a_module_is_imported_on_first_use_and_not_before() -> None:
    process = run_program("use_a_folder", "train")
    assert process.returncode == 0, process.stderr
    before, name = process.stdout.splitlines()
    assert "jaxae" in before.split()
    assert not {"jax", "flax", "numpy", "jaxae.train"} & set(before.split())
    assert name == "jaxae.train"


def test_the_error_for_wrong_input_is_an_attribute_of_the_package() -> None:
    assert jaxae.UserError is importlib.import_module("jaxae.errors").UserError
    assert "UserError" in dir(jaxae)


def test_an_attribute_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match=r"jaxae.*'trian'"):
        getattr(jaxae, "trian")  # noqa: B009 (pyright would see that there is none)


@pytest.mark.parametrize("name", ["TrainedRun", "fit", "load"])
def test_what_trains_and_loads_runs_is_an_attribute_of_the_package(name: str) -> None:
    assert getattr(jaxae, name) is getattr(importlib.import_module("jaxae.fitting"), name)
    assert name in dir(jaxae)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_is_made_by_its_name(name: str) -> None:
    network = getattr(models, name)((28, 28, 1))
    assert isinstance(network, nn.Module)
    assert all(callable(getattr(network, method)) for method in ("encode", "decode"))


@pytest.mark.slow
def test_evaluate_starts_as_a_module(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "jaxae.evaluate", "--help"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("usage: ")
    assert process.stderr == ""
