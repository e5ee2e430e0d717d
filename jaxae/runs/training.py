"""Training of a run, whose epochs are recorded and saved."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from jaxae import checkpoint, devices, train
from jaxae.errors import Terminated, UserError
from jaxae.models import count_parameters
from jaxae.runs import progress, records
from jaxae.runs.config import read_config
from jaxae.runs.divergence import (
    check_finite,
    describe_divergence,
    warn_of_losses,
)
from jaxae.runs.folder import Run
from jaxae.runs.health import make_health_check
from jaxae.runs.interrupts import defer_interrupts, keep_interrupts
from jaxae.runs.loading import describe_network
from jaxae.runs.meter import Meter
from jaxae.runs.pictures import draw_curves
from jaxae.runs.position import Position, save, save_epoch, save_on_interrupt
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Epoch, Recipe, check_range, of_split
from jaxae.runs.restoring import saved_tree, starting_point
from jaxae.runs.stopping import describe_stop, records_until, warn_of_test_images
from jaxae.runs.testing import is_due, make_test_record
from jaxae.train import Examples, check_examples, steps_in_epoch


def train_epochs(
    run: Run,
    recipe: Recipe,
    *,
    on_chunk: Callable[[train.Progress], None] | None = None,
) -> Iterator[Epoch]:
    """Trains a run, and yields each finished epoch once it is recorded.

    A run that is loaded, or resumed with nothing left to train, yields one epoch. With --patience
    the run's last epoch may come before that of --epochs. A run that is resumed after an epoch
    yields that epoch again. After Ctrl-C the state is saved as it is, and
    resuming continues from there. The loop over epochs may be left early: each is saved.

    Args:
      run: an open run.
      recipe: what to train, and how.
      on_chunk: called with the progress after each chunk of steps.

    Raises:
      UserError: the checkpoint to start from does not fit, or the examples cannot be trained on.
    """
    shared = run.shared
    check_range(recipe.network.likelihood, run.dataset)
    examples = recipe.examples or of_split(run.dataset.train)
    if shared.batch_size > len(examples.images):
        held = f" beside the {shared.validation} of --validation" if shared.validation else ""
        raise UserError(
            f"--batch-size {shared.batch_size}: {run.dataset.name} has {len(examples.images)} "
            f"training examples{held}; give --batch-size 1 to {len(examples.images)}"
        )
    examples = check_examples(examples, shared.batch_size)
    steps_per_epoch = steps_in_epoch(
        len(examples.images), shared.batch_size, drop_remainder=shared.drop_remainder
    )
    test_record = make_test_record(run, recipe)
    with keep_interrupts():
        state, totals, untrained = starting_point(run, recipe, examples, test_record)
    finish = partial(_finish, run, untrained)
    done, all_steps = train.steps_done(state), shared.epochs * steps_per_epoch
    stop = None
    if done < all_steps and done % steps_per_epoch == 0:
        stop = describe_stop(records_until(run.folder, done // steps_per_epoch), shared.patience)
    ended = shared.load is not None or done >= all_steps or stop is not None
    _open_records(run, recipe, done, steps_per_epoch, ended=ended)
    if stop is not None:
        progress.show_line(stop)
    if ended:
        epoch = _restored_epoch(run, recipe, state, totals, test_record, last=True)
        finish(epoch)
        yield epoch
        return
    if shared.resume is not None and done and done % steps_per_epoch == 0:
        # Again, because the run may have been killed before this epoch was drawn.
        yield _restored_epoch(run, recipe, state, totals, test_record, last=False)
    yield from _trained_epochs(
        run, recipe, examples, state, totals, steps_per_epoch, test_record, finish, on_chunk
    )


def _open_records(
    run: Run, recipe: Recipe, done: int, steps_per_epoch: int, *, ended: bool
) -> None:
    """Writes config.json, and drops a resumed run's records of epochs that it will train again.

    The summary of a run that has ended stays until the next one is written.

    Before anything is written, raises `UserError` if a resumed run has already trained for more
    epochs than are asked for, or if its records are damaged.
    """
    shared = run.shared
    all_steps, done_epochs = shared.epochs * steps_per_epoch, done // steps_per_epoch
    if shared.resume is not None:
        if done > all_steps:
            needed = -(-done // steps_per_epoch)
            raise UserError(
                f"--epochs {shared.epochs}: {run.folder} has reached epoch {needed}; give {needed} "
                "or more"
            )
        read_records(run.folder)
        if not ended:
            records.remove_summary(run.folder)
    records.write_config(
        run.folder,
        run.experiment,
        run.options,
        run.dataset,
        steps_per_epoch,
        describe_network(recipe.network),
        corrupted_tests=recipe.test_examples is not None
        and recipe.test_examples.inputs is not None,
        standardized=recipe.standardized,
    )
    print(f"{run.experiment} on {run.dataset.name}: {run.folder}", flush=True)
    if shared.patience is not None:
        warn_of_test_images(run, "--patience", "stops")
    if shared.resume is not None:
        if shared.initial_epoch is not None:
            checkpoint.delete_after(run.checkpointer, done)
        else:
            checkpoint.set_aside_after(run.checkpointer, done, "damaged")
        records.keep_records(run.folder, done_epochs)


def _trained_epochs(
    run: Run,
    recipe: Recipe,
    examples: Examples,
    state: train.State,
    totals: train.Metrics,
    steps_per_epoch: int,
    test_record: Callable[[train.State], dict[str, Any]],
    finish: Callable[[Epoch], None],
    on_chunk: Callable[[train.Progress], None] | None,
) -> Iterator[Epoch]:
    """Trains from a state to the end of the last epoch, and verifies the last checkpoint."""
    shared = run.shared
    lines = records_until(run.folder, train.steps_done(state) // steps_per_epoch)
    chunks = train.fit(
        state,
        examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=shared.epochs,
        batch_size=shared.batch_size,
        totals=totals,
        chunk_steps=1 if shared.debug else recipe.chunk_steps,
        drop_remainder=shared.drop_remainder,
        mesh=run.mesh,
        revise=lambda _: position.state,  # after `_observe`
    )
    size = min(len(examples.images), steps_per_epoch * shared.batch_size)
    images_per_epoch = shared.replicas * size
    position = Position(state, totals, saved=shared.resume is not None)
    meter = Meter(position.steps * images_per_epoch // steps_per_epoch)
    all_images = shared.epochs * images_per_epoch
    check_health = make_health_check(run, recipe)
    with progress.open_bar(all_images, meter.images) as bar, save_on_interrupt(run, position):
        for chunk, seconds in progress.timed(chunks):
            before, epoch, stop = position.steps, None, None
            with keep_interrupts():
                meter.count(progress.images_done(chunk, images_per_epoch), seconds)
                progress.show_loss(bar, chunk, shared.epochs, meter.images)
                check_finite(
                    chunk,
                    examples,
                    objective=recipe.objective,
                    batch_size=shared.batch_size,
                    debug=shared.debug,
                )
                if on_chunk is not None:
                    on_chunk(chunk)
                if chunk.finished_epoch:
                    faults = check_health(chunk.state, chunk.epoch)
                    record = {
                        "epoch": chunk.epoch,
                        "dataset": run.dataset.name,
                        **records.flatten_replicas("train_", chunk.metrics),
                        **(test_record(chunk.state) if is_due(shared, chunk.epoch) else {}),
                        **({"warnings": list(faults)} if faults else {}),
                        **meter.finish_epoch(),
                    }
                    chunk = chunk._replace(state=_observe(run, chunk, record))
                    with defer_interrupts():  # which would save a position that is not recorded
                        save_epoch(run, chunk, record)
                        progress.show_warnings(faults.values())
                        position.move_to(chunk)
                    lines.append(record)
                    last = chunk.epoch == shared.epochs
                    stop = None if last else describe_stop(lines, shared.patience)
                    ends = last or stop is not None
                    epoch = Epoch(chunk.epoch, chunk.state, ends, record, recipe)
                else:
                    position.move_to(chunk)
                if stop is not None:
                    progress.show_line(stop)
                if epoch is not None and epoch.last:
                    finish(epoch)
            if epoch is not None:
                yield epoch
            if devices.asked_to_stop(range(before + 1, position.steps + 1)):
                raise Terminated
            if stop is not None:
                break
    checkpoint.verify_latest(run.checkpointer, saved_tree(position.state, position.totals))


def _observe(run: Run, chunk: train.Progress, record: dict[str, Any]) -> train.State:
    """Returns the state of a finished epoch, whose schedule has observed the loss if it was tested.

    A test that only the last epoch has is not observed: a resumed run with more epochs had none.
    """
    if chunk.epoch % run.shared.evaluate_every:
        return chunk.state
    return train.observe_loss(chunk.state, records.watched_loss(record))


def _restored_epoch(
    run: Run,
    recipe: Recipe,
    state: train.State,
    totals: train.Metrics,
    test_record: Callable[[train.State], dict[str, Any]],
    *,
    last: bool,
) -> Epoch:
    """Returns the epoch that a restored state has finished, with its record or a new one.

    A recorded epoch that was not tested, and has become the last one, is tested and saved again.
    """
    restored = run.shared.restored
    assert restored is not None
    epoch = train.steps_done(state) // read_config(restored).steps_per_epoch
    recorded = [line for line in read_records(run.folder) if line["epoch"] == epoch]
    fresh = {"epoch": epoch, "dataset": run.dataset.name}
    record = recorded[-1] if recorded else fresh
    late = bool(recorded) and last and not records.is_tested(record)
    if late or not recorded:
        record = {**record, **test_record(state)}
    if late:
        records.replace_record(run.folder, record, run.board)
        save(run, state, totals, records.mean_watched_loss(record))
    return Epoch(epoch, state, last, record, recipe)


def _finish(run: Run, untrained: dict[str, Any] | None, epoch: Epoch) -> None:
    """Writes summary.json, draws the recorded losses, and warns if the run has diverged.

    `untrained` holds the test numbers before training, if the run has trained.
    """
    divergence = describe_divergence(epoch.record, untrained)
    warning = {} if divergence is None else {"warning": divergence}
    early = run.shared.load is None and epoch.number < run.shared.epochs
    stopped = {"stopped_early": True} if early else {}
    parameters = count_parameters(epoch.variables)
    records.write_summary(run.folder, {**epoch.record, **stopped, **warning}, parameters)
    draw_curves(run)
    if devices.is_first_process():
        warn_of_losses(run.folder, read_records(run.folder) or [epoch.record], divergence)
