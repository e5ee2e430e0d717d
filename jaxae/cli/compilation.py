"""JAX's persistent compilation cache: what XLA compiled for one process serves the next."""

import os
import warnings
from pathlib import Path

import jax

from jaxae import files


def use_cache(*, wanted: bool) -> None:
    """Has JAX keep compiled programs in the user's cache folder, or where JAX was told to; or not.

    For the start of a process, before anything is compiled. A folder that cannot be written and
    entries that cannot be read cost time and nothing else.
    """
    if not wanted:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = files.cache_folder() / "compiled"
        if not is_writable(folder):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX would keep only what took a second, and no program of a small network takes that.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # A warning a program, where one compilation more is all that happens.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def is_writable(folder: Path) -> bool:
    """Whether files can be written to a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
