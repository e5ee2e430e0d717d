"""Strictness for every test: warnings, promotions of rank or dtype, and wrong shapes are errors."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxtyping
import pytest
from threadpoolctl import threadpool_limits

from support import signatures
from support.browser import browser

__all__ = ["browser"]  # a fixture

# Checks signatures in the modules that are imported after this.
jaxtyping.install_import_hook(
    [f"jaxae.{name}" for name in signatures.ANNOTATED], f"{signatures.__name__}.check"
)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
os.environ |= {"JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_NUMPY_DTYPE_PROMOTION": "strict"}
# Most programs here run once, so they are compiled with little effort, and without the emitters of
# fused loops, which take longer to compile. That is an extra option because other releases of XLA
# may lack it. The commands that tests start inherit all these settings.
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters",
    ]
)


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_blas() -> Iterator[None]:
    """Limits NumPy to one thread, because each core runs a process of tests."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1, user_api="blas"):
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps compiled programs and classifiers in a temporary folder, away from the user's caches.

    The commands that tests start share one folder among all workers, so that each of their programs
    is compiled once, and each classifier trained once.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    jax.config.update("jax_compilation_cache_dir", str(base / "programs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(shared / "programs_of_commands"))
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture(autouse=True)
def few_programs() -> Iterator[None]:
    """Limits the compiled programs that the tests of a process leave behind."""
    yield
    from jaxae import devices  # after the import hook

    devices.limit_programs()


@pytest.fixture
def unchecked_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures go unchecked, as for users, so that a test can pass a wrong shape."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def sources() -> Path:
    """The folder of the original archives, one subfolder per dataset; skips if there is none."""
    folder = os.environ.get("JAXAE_SOURCES")
    if not folder:
        pytest.skip("needs the original archives: set JAXAE_SOURCES to a folder that holds them")
    return Path(folder).resolve()
