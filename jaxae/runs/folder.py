"""A run and its folder: config, metrics, pictures, checkpoints.

config.json      options, dataset, versions, devices, git commit
metrics.jsonl    one line per epoch
pictures/        PNG, each with its caption under it and as metadata
checkpoints/     the full state, by step: the latest two and the best
summary.json     the last epoch's numbers, the parameter count, the training time, the best epoch
"""

import contextlib
import itertools
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from jax.sharding import Mesh

from jaxae import checkpoint, data
from jaxae.devices import data_mesh, is_first_process
from jaxae.errors import UserError
from jaxae.runs import records
from jaxae.runs.config import check_dataset, describe_changes, label_run, read_config
from jaxae.runs.environment import command_line, split_command, words_of
from jaxae.runs.options import Options, RunOptions
from jaxae.runs.progress import show_line
from jaxae.runs.reading import read_summary
from jaxae.runs.trackers import Tracker
from jaxae.runs.tracking import IDS_FILE, open_trackers

LOCK = ".lock"

_REMAINS = (LOCK, ".config.json.part", IDS_FILE, "tensorboard", "wandb", "mlflow")
"""Files and folders that a run can leave in its folder if it is killed before it trains."""


@dataclass(frozen=True)
class Run:
    """An open run."""

    experiment: str
    folder: Path
    options: Options  # the experiment's
    dataset: data.Dataset
    checkpointer: "checkpoint.Checkpointer"
    trackers: tuple[Tracker, ...]  # which show the run while it trains
    mesh: Mesh | None  # the devices that share each batch; None for a single device
    command: Sequence[str] | None = None  # words of one that trains it; None for this process's

    @property
    def shared(self) -> RunOptions:
        """The options that all experiments share."""
        return self.options.run

    @property
    def label(self) -> str:
        """What output and captions call it: the member of the family, or the experiment."""
        objective = getattr(self.options, "objective", None)
        return label_run(self.experiment, objective if isinstance(objective, str) else None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of the dataset's images, or the length of its vectors."""
        return self.dataset.train.images.shape[1:]


@contextlib.contextmanager
def start(
    experiment: str,
    options: Options,
    *,
    dataset: str | data.Dataset,
    keep_all: bool = False,
    how_to_resume: Callable[[Path], str] | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[Run]:
    """Opens a run in a new folder, or in the folder of the run to resume.

    Args:
      experiment: the experiment's name, which also names the folder.
      options: the experiment's options, which config.json keeps.
      dataset: the dataset to train on, or the name of one if the options name none.
      keep_all: keep the checkpoint of every epoch.
      how_to_resume: returns the code that resumes a run in a folder, to print after Ctrl-C; None
        for the command.
      command: the words of a command that trains the run, which config.json keeps; None for this
        process's command line.

    Raises:
      UserError: the dataset cannot be loaded, the folder cannot be written, or the run to start
        from is of another experiment or was trained on other data.
    """
    shared = options.run
    checkpoint.check_path(shared.resume or shared.out or Path("results"))
    examples = dataset if isinstance(dataset, data.Dataset) else find_dataset(shared, dataset)
    if shared.restored is not None:
        examples = check_restorable(shared, experiment, examples)
    examples = data.hold_out_validation(examples, shared.validation)
    mesh = data_mesh(shared.devices)
    mesh = mesh if mesh.size > 1 else None
    # Path.exists raises for a name that is too long, which new_folder reports better.
    existed = shared.resume is not None or os.path.exists(shared.out or "")  # noqa: PTH110
    folder = shared.resume or new_folder(experiment, shared.out)
    checkpoints = folder / "checkpoints"
    if how_to_resume is None:
        program, _ = split_command(command_line(sys.argv) if command is None else list(command))
        how_to_resume = partial(_resuming_command, program, shared=shared, own=examples.own)
    with (
        _remove_if_empty(folder, wanted=not existed),
        _lock(folder),
        clean_up_on_error(folder, shared, how_to_resume),
        checkpoint.open_checkpoints(checkpoints, keep_all=keep_all) as checkpointer,
        open_trackers(folder, experiment, options, examples, command) as trackers,
    ):
        yield Run(experiment, folder, options, examples, checkpointer, trackers, mesh, command)
    print(_describe_end(folder, shared.epochs, how_to_resume), flush=True)


def _describe_end(folder: Path, epochs: int, how_to_resume: Callable[[Path], str]) -> str:
    """Says how a run has ended without an error: done, diverged, or stopped before its last epoch.

    It stops early if the loop over its epochs is left, whose last checkpoint is then on disk.
    """
    if (folder / "summary.json").exists():
        warning = read_summary(folder).get("warning")
        done = "done" if warning is None else f"done, but {warning}"
        return f"{done}: pictures and summary.json in {folder}"
    steps = checkpoint.steps(folder / "checkpoints")
    if not steps:
        return f"stopped before the end of an epoch: nothing is saved in {folder}"
    epoch = steps[-1] // read_config(folder).steps_per_epoch
    return (
        f"stopped after epoch {epoch} of {epochs}, which is saved in {folder}: resume "
        f"with\n    {how_to_resume(folder)}"
    )


def _resuming_command(
    program: Sequence[str], folder: Path, shared: RunOptions, *, own: bool
) -> str:
    """Returns the command that continues a run, which a program has started.

    It names the data again if they are the user's `own`, or prepared in a folder of the user's.
    """
    place = shared.data_dir and ["--data-dir", shared.data_dir.as_posix()]
    if own and shared.dataset:
        place = ["--dataset", shared.dataset]
    return shlex.join([*program, "--resume", folder.as_posix(), *(place or [])])


def find_dataset(shared: RunOptions, name: str) -> data.Dataset:
    """Loads the dataset that the options name, else the one of this name or its subset."""
    load = data.load if shared.dataset else data.load_default
    return load(
        shared.dataset or name,
        data_dir=shared.data_dir,
        sources=shared.sources,
        stream=shared.stream,
        workers=shared.workers,
        reading=shared.reading,
    )


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
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


@contextlib.contextmanager
def _remove_if_empty(folder: Path, *, wanted: bool) -> Iterator[None]:
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


def check_folder(run: Run) -> None:
    """Raises `UserError` if the run's folder is gone, because Orbax would create another."""
    if is_first_process() and not (run.folder / "config.json").exists():
        raise UserError(
            f"{run.folder} has vanished, with everything saved in it: do not move or delete the "
            "folder of a run before the run ends"
        )


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


def check_restorable(shared: RunOptions, experiment: str, dataset: data.Dataset) -> data.Dataset:
    """Returns the dataset of a restored run, under the name that it had when the run started.

    A run that is loaded may be evaluated on other data; if they only share the name of what it was
    trained on, a warning says so. Raises `UserError` if the run is of another experiment, or if it
    is resumed and was trained on other data.
    """
    folder = shared.restored
    assert folder is not None
    config = read_config(folder)
    if config.experiment != experiment:
        program, _ = split_command(words_of(config.command))
        raise UserError(
            f"{folder} is a run of {config.experiment}, and this is {experiment}: give it to "
            f"{shlex.join(program)}, which started it"
        )
    if shared.resume is not None:
        check_dataset(folder, config, dataset)
        return replace(dataset, name=config.dataset.name)
    changes = describe_changes(config, dataset)
    if dataset.own and dataset.name == config.dataset.name and changes is not None:
        print(
            f"warning: {folder} was trained on {dataset.name} with other content than is found "
            f"now ({changes}), and its numbers are of what is found",
            file=sys.stderr,
        )
    return dataset


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
        raise UserError(
            f"--out {out} holds files already: give a new folder, or continue with --resume {out}"
        )
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


def step_of_epoch(folder: Path, epoch: int, *, flag: str = "--initial-epoch") -> int:
    """Returns the step of the checkpoint after an epoch; raises `UserError` if there is none."""
    steps_per_epoch = read_config(folder).steps_per_epoch
    steps = checkpoint.steps(folder / "checkpoints")
    kept = {step // steps_per_epoch: step for step in steps if step % steps_per_epoch == 0}
    if epoch not in kept:
        if len(kept) == 1:
            raise UserError(
                f"{flag} {epoch}: {folder} keeps only the checkpoint after epoch {min(kept)}; "
                "choose that"
            )
        raise UserError(
            f"{flag} {epoch}: {folder} keeps the checkpoints after epochs "
            f"{', '.join(map(str, kept))}; choose one of these"
        )
    return kept[epoch]


def _empty(folder: Path) -> None:
    """Removes everything in a run's folder except its lock, which is still open."""
    for path in folder.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def add_to_summary(run: Run, results: dict[str, float]) -> None:
    """Adds an experiment's own numbers to summary.json, and prints them."""
    records.add_to_summary(run.folder, results)
    show_line("  ".join(f"{name} {value:.5g}" for name, value in results.items()))
