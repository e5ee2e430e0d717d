"""Training of cells: group after group, each cell in its own folder."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxae import data, devices, runs
from jaxae.commands import train
from jaxae.errors import UserError
from jaxae.runs import Recipe, Run
from jaxae.sweeps.cells import Cell, as_it_is_now
from jaxae.sweeps.groups import group_cells, split_by_memory

State = Literal["waiting", "training", "done", "failed"]

LOG = "log.txt"
"""The file beside the runs that gets all output of the training."""


@dataclass(frozen=True)
class Result:
    """How far a cell is."""

    state: State
    epoch: int = 0
    figures: Any = None  # of its last epoch, as in metrics.jsonl; None before the first
    error: str | None = None  # why it failed


Report = Callable[[Cell, Result], None]
"""Called with a cell each time that it has come further."""


def train_cells(
    cells: Sequence[Cell], log: Path, report: Report, *, most: int | None = None
) -> dict[str, str]:
    """Trains all cells that are not finished; returns the errors of those that failed, by name.

    A cell that fails does not stop the others. Called again, it continues each cell where it was.

    Args:
      cells: the cells.
      log: file that all output of the training is appended to.
      report: called as cells come further, with finished ones first.
      most: the number of cells that train side by side, by default as many as the device suits.
    """
    errors: dict[str, str] = {}
    waiting = []
    for cell in cells:
        if cell.error is not None:
            errors[cell.name] = cell.error
            report(cell, Result("failed", error=cell.error))
        elif cell.is_finished:
            report(cell, _finished(cell))
        else:
            waiting.append(cell)
            report(cell, Result("waiting"))
    load = one_dataset_at_a_time()
    for group in group_cells(waiting, most):
        with _output_in(log):
            for cell, error in _train_group(group, load, report, most):
                errors[cell.name] = error
                print(f"{cell.folder}: {error}", file=sys.stderr)
                report(cell, Result("failed", error=error))
        devices.limit_programs()
    return errors


def _train_group(
    group: Sequence[Cell],
    load: Callable[[train.Options], data.Dataset],
    report: Report,
    most: int | None,
) -> Iterator[tuple[Cell, str]]:
    """Trains cells that one program can train; yields those that failed, with the error."""
    try:
        dataset = load(group[0].options)
        parts = split_by_memory(group, dataset, most)
    except Exception as error:  # a lack of memory, too
        parts, dataset = [[cell] for cell in group], None
        if len(group) == 1 or isinstance(error, UserError):
            yield from ((cell, _describe(error)) for cell in group)
            return
    for part in parts:
        failed = None
        try:
            yield from _train_side_by_side(part, dataset or load(part[0].options), report)
        except Exception as error:  # such as a lack of memory, which one cell alone may not have
            traceback.print_exc()
            failed = _describe(error)
        if failed is None:
            continue
        for cell in part:  # the error is gone by now, with the arrays that its frames held
            if len(part) == 1:
                yield cell, failed
            elif cell.is_finished:
                report(cell, _finished(cell))
            else:
                yield from _train_group([as_it_is_now(cell)], load, report, most)


def _describe(error: Exception) -> str:
    """Returns an error as one line, with its type unless it is the user's."""
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())}"


def _finished(cell: Cell) -> Result:
    """Returns the result of a cell that has been trained before."""
    figures = runs.read_summary(cell.folder)
    return Result("done", figures["epoch"], figures)


def _train_side_by_side(
    group: Sequence[Cell], dataset: data.Dataset, report: Report
) -> Iterator[tuple[Cell, str]]:
    """Trains cells at once; yields those that failed, with the error."""
    with ExitStack() as everything:
        opened: list[tuple[Cell, Run, Recipe]] = []
        closers: list[ExitStack] = []
        for cell in map(as_it_is_now, group):
            if cell.is_finished:  # by another process, since this one began
                report(cell, _finished(cell))
                continue
            closer = everything.enter_context(ExitStack())
            try:
                pair = closer.enter_context(
                    train.open_member(
                        cell.options,
                        dataset=dataset,
                        command=cell.command,
                    )
                )
            except UserError as error:
                yield cell, str(error)
                continue
            opened.append((cell, *pair))
            closers.append(closer)
            report(cell, Result("training"))
        for outcome in runs.train_together([(run, recipe) for _, run, recipe in opened]):
            cell, run, _ = opened[outcome.number]
            epoch = outcome.epoch
            if isinstance(epoch, UserError):
                _close_after(epoch, closers[outcome.number])
                yield cell, str(epoch)
                continue
            train.draw_epoch(run, epoch, cell.options)
            if epoch.last:
                closers[outcome.number].close()
            state = "done" if epoch.last else "training"
            report(cell, Result(state, epoch.number, epoch.record))


def _close_after(error: UserError, closer: ExitStack) -> None:
    """Closes a run that an error has ended."""
    with contextlib.suppress(UserError), closer:
        raise error


def one_dataset_at_a_time() -> Callable[[train.Options], data.Dataset]:
    """Returns a function that loads the dataset of options, and keeps the latest one."""
    kept: dict[Any, data.Dataset] = {}

    def load(options: train.Options) -> data.Dataset:
        shared = options.run
        key = (shared.dataset, shared.data_dir, shared.sources, shared.stream, shared.workers)
        key = (*key, shared.reading, shared.validation)
        if key not in kept:
            kept.clear()
            dataset = runs.find_dataset(shared, "mnist")
            kept[key] = data.hold_out_validation(dataset, shared.validation)
        return kept[key]

    return load


@contextlib.contextmanager
def _output_in(log: Path) -> Iterator[None]:
    """Appends what the block prints, on stdout and stderr, to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield
