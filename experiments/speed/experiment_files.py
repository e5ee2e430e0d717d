"""Loads the experiments' own recipes and sets the sizes of a workload."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from speed_workloads import Workload


def load_experiment(name: str) -> ModuleType:
    """Imports an experiment's file from the folder above this one."""
    path = Path(__file__).parents[1] / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def default_workload(name: str, steps: int) -> Workload:
    """Returns a workload of an experiment's own sizes; it has 60,000 images unless it sets them."""
    options = load_experiment(name).Options()
    return Workload(
        name,
        options.run.batch_size,
        options.run.learning_rate,
        getattr(options, "latent", None),
        getattr(options, "images", 60_000),
        steps,
    )


def configure(options: Any, workload: Workload) -> Any:
    """Returns an experiment's options with the sizes of a workload."""
    run = replace(options.run, batch_size=workload.batch_size, replicas=workload.replicas)
    sizes = {"latent": workload.latent, "images": workload.images}
    own = {name: size for name, size in sizes.items() if hasattr(options, name)}
    return replace(options, run=run, **own)
