"""Loads the options of experiments, which are scripts, not modules."""

import importlib.util
import sys
from functools import cache
from typing import Any

from support.commands import REPOSITORY

_EXPERIMENTS = REPOSITORY / "experiments"


@cache
def options_of(name: str) -> Any:
    """Returns the class of an experiment's options."""
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", _EXPERIMENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and tyro look up a class's module there
    spec.loader.exec_module(module)
    return module.Options
