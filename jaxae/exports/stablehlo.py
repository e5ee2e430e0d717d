"""Exported networks as StableHLO programs, which `jax.export.deserialize` reads without jaxae."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxae.exports.contents import FUNCTIONS
from jaxae.exports.extra import need
from jaxae.exports.signature import Signature
from jaxae.network import Trained

PLATFORMS = ("cpu", "cuda", "tpu")


def write(folder: Path, trained: Trained, signature: Signature) -> None:
    """Writes each function, for any batch size; raises `UserError` if a package is missing."""
    need("flatbuffers", "the format stablehlo")
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    methods = {"encoder": trained.encode, "decoder": trained.decode}
    for name in FUNCTIONS:
        of_codes = name == "decoder"
        shape = signature.code_shape if of_codes else signature.shape
        dtype = jnp.float32 if of_codes else jnp.dtype(signature.input)
        arguments = [jax.ShapeDtypeStruct((batch, *shape), dtype)]
        if signature.classes is not None:
            arguments.append(jax.ShapeDtypeStruct((batch,), jnp.int32))
        function = _of_each(methods.get(name, trained.reconstruct))
        with _without_places():
            exported = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
            serialized = exported.serialize()
        (folder / f"{name}.stablehlo").write_bytes(serialized)


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
    """Leaves the paths of source files, which are this machine's, out of programs."""
    name = "jax_hlo_source_file_canonicalization_regex"
    before = jax.config.values[name]
    jax.config.update(name, ".*")
    try:
        yield
    finally:
        jax.config.update(name, before)


def _of_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of a batch of unknown size, which is mapped over its examples.

    The networks choose their tiles by the size of a batch, which must be a number for that.
    """

    def of_one(*inputs: jax.Array) -> jax.Array:
        return function(*(each[None] for each in inputs))[0]

    return jax.vmap(of_one)
