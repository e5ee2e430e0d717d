"""JAX's persistent compilation cache: a process reuses what an earlier one compiled."""

import os
import warnings
from pathlib import Path

import jax

from jaxae import files


def use_cache(*, wanted: bool) -> None:
    """Turns JAX's persistent compilation cache on or off.

    Call it at the start of a process, before anything is compiled. The cache is in the user's
    cache folder unless JAX is configured with another. A folder that cannot be written, or an
    entry that cannot be read, costs only the time to compile again.
    """
    if not wanted:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = files.cache_folder() / "compiled"
        if not is_writable(folder):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX keeps only what took a second to compile; a small network takes less.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # There would be one warning per program, and all that happens is that it is compiled again.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def is_writable(folder: Path) -> bool:
    """Returns whether files can be written to a folder; creates it if needed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
