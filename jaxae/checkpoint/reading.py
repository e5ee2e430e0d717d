"""One checkpoint's folder, read and verified against what was saved."""

import contextlib
import gc
import logging
import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxae.checkpoint.checksums import checksum, checksum_of_json, describe_leaf, named_leaves
from jaxae.errors import MISSING, UserError, may_pass, unreadable
from jaxae.files import Index, convert, decode_json

RETRY_SECONDS = 0.2  # pause before a failed read, as from a network disk, is repeated

AVERAGED = "averaged"
"""Name of the averaged parameters in a saved tree, which a network is evaluated with if they exist.
They follow from the state, so restoring the state does not need them."""

UNTESTED = sys.float_info.max  # the loss of a checkpoint that was not tested, or not finite

METADATA = "_CHECKPOINT_METADATA"  # Orbax's file about a checkpoint, to which we add a description


@dataclass(frozen=True)
class _Leaf:
    """The description of one array."""

    dtype: str
    shape: tuple[Index, ...]
    crc32: Index


@dataclass(frozen=True)
class _Description:
    """The description that `save` puts beside a checkpoint's arrays."""

    leaves: dict[str, _Leaf]
    loss: float
    crc32: Index


@dataclass(frozen=True)
class _File:
    """The part of Orbax's file that is read."""

    custom_metadata: dict[str, Any]


class DamagedError(Exception):
    """Raised if a checkpoint differs from what was saved; the message is the difference."""


def read(path: Path, like: Any) -> Any:
    """Reads the pytree in a checkpoint's folder, with each leaf checked against its checksum.

    Raises:
      DamagedError: the checkpoint differs from what was saved.
      UserError: the checkpoint is intact, but its leaves do not match those of `like`.
    """
    saved = read_metadata(path)["leaves"]
    _check_fit(path, saved, like)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
    )
    return _read_leaves(path, abstract, saved)


def read_variables(path: Path) -> Any:
    """Reads and checks a checkpoint's variables for evaluation; raises `DamagedError` like `read`.

    The parameters are the averaged ones if the checkpoint has any, else those of the state.
    """
    saved = read_metadata(path)["leaves"]
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    has_average = any(name.split("/")[0] == AVERAGED for name in saved)
    params = (AVERAGED,) if has_average else ("state", "params")
    collections = ("state", "collections")
    tree: dict[str, Any] = {"state": {"collections": {}}}
    for name, leaf in saved.items():
        *folders, last = name.split("/")
        if not any(tuple(folders[: len(kind)]) == kind for kind in (params, collections)):
            continue
        place = tree
        try:
            for part in folders:
                place = place.setdefault(part, {})
            place[last] = jax.ShapeDtypeStruct(leaf["shape"], leaf["dtype"], sharding=device)
        except (TypeError, ValueError, AttributeError) as error:  # no dtype; a leaf within a leaf
            raise DamagedError(f"its description of {name} does not describe an array") from error
    found = _read_leaves(path, tree, saved)
    state = found["state"]
    return {"params": found[AVERAGED] if has_average else state["params"], **state["collections"]}


def _read_leaves(path: Path, abstract: Any, saved: Mapping[str, Any]) -> Any:
    """Reads the leaves that an abstract pytree has; raises `DamagedError` if one differs."""
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    context.pytree.loading.partial_load = True
    tree = problem = None
    with quiet_failures(), warnings.catch_warnings():
        # Silences reads that never began, because another failed first.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        for pause in (RETRY_SECONDS, 0.05):
            problem = None
            try:
                with context:
                    tree = ocp.load(str(absolute(path)), abstract)
                break
            # Damage makes Orbax, TensorStore and decoders raise errors of many types.
            except Exception as error:
                # Without its cause, whose frames hold the other reads.
                problem = _failure(path, error)
            time.sleep(pause)  # the other reads fail, too: let them do so now
            gc.collect()
    if problem is not None:
        raise problem
    for name, leaf in named_leaves(tree).items():
        whole = isinstance(leaf, jax.Array) and {
            **describe_leaf(leaf),
            "crc32": checksum(leaf),
        } == saved.get(name)
        if not whole:
            raise DamagedError(f"the numbers of {name} are not those that were saved")
    return tree


def absolute(path: Path) -> Path:
    """Returns an absolute path without "..", which TensorStore refuses."""
    return path.resolve() if ".." in path.parts else path.absolute()


def verify(path: Path) -> None:
    """Checks a checkpoint's description, and that each leaf is listed; reads no numbers.

    Raises:
      DamagedError: the description or an array is missing.
      UserError: it cannot be read now.
    """
    import tensorstore

    leaves = read_metadata(path)["leaves"]
    base = {"driver": "file", "path": f"{absolute(path)}/state/"}
    try:
        opened = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
        found = opened.list().result()
    except Exception as error:  # damage makes TensorStore raise errors of many types
        raise _failure(path, error) from error
    # Orbax joins the parts of a name by dots, and leaves slashes within a part as they are.
    listed = {key.decode().replace("/", ".") for key in found}
    for name in leaves:
        if f"{name}/zarr.json".replace("/", ".") not in listed:
            raise DamagedError(f"the array of {name} is missing")


def _failure(path: Path, error: Exception) -> UserError | DamagedError:
    """Returns the error to raise if reading a checkpoint's arrays fails; drops the cause."""
    if may_pass(error):
        return unreadable(path, error)
    return DamagedError(f"it cannot be read ({type(error).__name__})")


@contextlib.contextmanager
def quiet_failures() -> Iterator[None]:
    """Silences Orbax's background errors so that only ours is reported."""
    loggers, hook = [logging.getLogger(name) for name in ("absl", "asyncio")], sys.unraisablehook

    def report(unraisable: Any) -> None:
        # TensorStore raises this error when nothing waits for its result any more.
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def read_metadata(path: Path) -> Mapping[str, Any]:
    """Reads the description that `save` has put beside a checkpoint's arrays.

    Raises:
      DamagedError: it is not what was saved, or is missing.
      UserError: it cannot be read now, but may be intact.
    """
    try:
        content = decode_json(_read_bytes(path / METADATA))
        metadata = convert(_File, content, "").custom_metadata
        convert(_Description, metadata, "custom_metadata")
        described = {name: metadata[name] for name in ("leaves", "loss")}
        intact = checksum_of_json(described) == metadata["crc32"]
    except MISSING as error:
        raise DamagedError("its description of the leaves is missing") from error
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise DamagedError(f"its description of the leaves cannot be read ({error})") from error
    if not intact or not math.isfinite(described["loss"]):
        raise DamagedError("its description of the leaves is not what was saved")
    return metadata


def step_of_lowest(losses: Mapping[int, float]) -> int:
    """Returns the step of the lowest loss, the first of several; the latest if none was tested."""
    lowest = min(losses.values())
    steps = [step for step, loss in losses.items() if loss == lowest]
    return max(steps) if lowest == UNTESTED else min(steps)


def _read_bytes(path: Path) -> bytes:
    """Returns a file's bytes, with a second attempt after an OSError that may pass."""
    try:
        return path.read_bytes()
    except MISSING:
        raise
    except OSError:
        time.sleep(RETRY_SECONDS)
        return path.read_bytes()


def _check_fit(path: Path, saved: Mapping[str, Any], like: Any) -> None:
    """Raises `UserError`, which names the leaf, unless the saved leaves match those of `like`.

    Averaged parameters need not be in `like`.
    """
    wanted = {name: describe_leaf(leaf) for name, leaf in named_leaves(like).items()}
    required = {name for name in saved if name.split("/")[0] != AVERAGED}
    for name in sorted(required | wanted.keys()):
        if name not in saved or name not in wanted:
            where = "the model and optimizer" if name in wanted else "the checkpoint"
            raise UserError(
                f"{path} does not fit: {name} is only in {where}; give the options of the run that "
                "saved it"
            )
        found, expected = (
            f"{leaf['dtype']}{leaf['shape']}" for leaf in (saved[name], wanted[name])
        )
        if found != expected:
            raise UserError(
                f"{path} does not fit: {name} is {found} there and {expected} here; give "
                f"{what_decides(saved[name], wanted[name])} of the run that saved it"
            )


def what_decides(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Names the cause of two leaves' difference: a setting of JAX, else the options."""
    dtypes = {saved["dtype"], wanted["dtype"]}
    if all(dtype.startswith("key<") for dtype in dtypes) and len(dtypes) == 2:
        setting = "jax_default_prng_impl"
    elif dtypes in ({"float32", "float64"}, {"int32", "int64"}, {"uint32", "uint64"}):
        setting = "jax_enable_x64"
    else:
        return "the options"
    return f"{setting.upper()}, which is {jax.config.values[setting]} now, the value"
