"""Strictness for every test: rank promotion raises; warnings are errors (pyproject.toml)."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def sources() -> Path:
    """The folder of the original archives, one subfolder a dataset; skips where there is none."""
    folder = os.environ.get("JAXAE_SOURCES")
    if not folder:
        pytest.skip("needs the original archives: set JAXAE_SOURCES to a folder that holds them")
    return Path(folder).resolve()
