"""The folder of a run on disk: made, locked, and emptied after an error."""

import contextlib
import itertools
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxae import checkpoint
from jaxae.devices import is_first_process
from jaxae.errors import UserError
from jaxae.runs.config import CONFIG_FILE
from jaxae.runs.options import RunOptions
from jaxae.runs.tracking import IDS_FILE

LOCK = ".lock"

_REMAINS = (LOCK, ".config.json.part", IDS_FILE, "tensorboard", "wandb", "mlflow")
"""Files and folders that a run can leave in its folder if it is killed before it trains."""


def new_folder(experiment: str, out: Path | None) -> Path:
    """Creates a run's folder, `out` or one named by the time; raises `UserError` if it holds files.

    Only the first of several processes creates and checks it.
    """
    if out is not None and not is_first_process():
        return out
    try:
        if out is None:
            return _timed_folder(Path("results") / experiment)
        out.mkdir(parents=True, exist_ok=True)
        held = any(
            path.is_symlink() or path.is_file()
            for top in out.iterdir()
            if top.name not in _REMAINS
            for path in (top, *top.rglob("*"))
        )
    except OSError as error:
        raise UserError(
            f"the run's folder {out or 'results'} cannot be made ({error.strerror}): give a "
            "writable folder with --out"
        ) from None
    if held:
        resumable = (out / CONFIG_FILE).exists()
        advice = f", or continue with --resume {shlex.quote(str(out))}" if resumable else ""
        raise UserError(f"--out {out} holds files already: give a new folder{advice}")
    return out


def _timed_folder(parent: Path) -> Path:
    """Creates a folder named by the time, with a number if others start in the same second."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            folder = parent / f"{name}{suffix}"
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("itertools.count ends")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Locks a run's folder; raises `UserError` if another process has locked it."""
    from filelock import FileLock, Timeout

    if not is_first_process():
        yield
        return
    path = folder / LOCK
    try:
        held = FileLock(path)
        held.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process is writing to {folder}: wait until it ends, or give another folder "
            "with --out"
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):  # on Windows, where the release removes it
            path.unlink(missing_ok=True)
        held.release()


def is_locked(folder: Path) -> bool:
    """Returns whether a process is training the run in a folder."""
    from filelock import FileLock, Timeout

    path = folder / LOCK
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):  # an OSError: the file is another user's
        return True


def check_folder(folder: Path) -> None:
    """Raises `UserError` if an open run's folder is gone, because Orbax would create another."""
    if is_first_process() and not (folder / CONFIG_FILE).exists():
        raise UserError(
            f"{folder} has vanished, with everything saved in it: do not move or delete the "
            "folder of a run before the run ends"
        )


@contextlib.contextmanager
def remove_if_empty(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Removes a run's folder at the end if it is empty and `wanted` is true."""
    try:
        yield
    finally:
        if wanted and is_first_process():
            with contextlib.suppress(OSError):  # it holds something, or has vanished
                folder.rmdir()


@contextlib.contextmanager
def clean_up_on_error(
    folder: Path, shared: RunOptions, how_to_resume: Callable[[Path], str]
) -> Iterator[None]:
    """Cleans up after an error or Ctrl-C: empties the folder of a new run that has saved nothing.

    After Ctrl-C it also prints how to resume the run. An OSError of the system becomes a
    `UserError`.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, OSError) as error:
        resumable = shared.load is None and bool(checkpoint.steps(folder / "checkpoints"))
        trained = (folder / "metrics.jsonl").exists()
        nothing = not resumable and not trained and shared.resume is None
        if nothing and folder.is_dir() and is_first_process():
            _empty(folder)
        if isinstance(error, KeyboardInterrupt) and is_first_process():
            command = how_to_resume(folder)
            saved = f"the state is saved in {folder}: resume with\n    {command}"
            print(
                f"\ninterrupted; {saved if resumable else 'there was nothing to save yet'}",
                file=sys.stderr,
            )
        if isinstance(error, OSError) and error.errno is not None:  # None: not the system's
            raise _unwritable(folder, error) from error
        raise


def _empty(folder: Path) -> None:
    """Removes everything in a run's folder except its lock, which is still open."""
    for path in folder.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _unwritable(folder: Path, error: OSError) -> UserError:
    """Returns the error for a file that cannot be written, in a run's folder or elsewhere."""
    named = isinstance(error.filename, str | bytes | os.PathLike)
    place = Path(os.fsdecode(error.filename)) if named else folder
    reason = error.strerror or error
    if not place.absolute().is_relative_to(folder.absolute()):
        return UserError(
            f"{place} cannot be read or written ({reason}): make it readable and writable, and "
            f"continue with --resume {folder} if that holds a run"
        )
    return UserError(
        f"{place} cannot be written ({reason}): make room there or make it writable, and "
        f"continue with --resume {folder} if it holds a run, else give another folder with --out"
    )
