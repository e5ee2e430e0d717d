"""Training of a run, whose epochs are recorded and saved."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from jaxae import checkpoint, devices, train
from jaxae.errors import Terminated, UserError
from jaxae.runs import progress, records
from jaxae.runs.config import read_config
from jaxae.runs.folder import Run
from jaxae.runs.interrupts import keep_interrupts
from jaxae.runs.loading import describe_network
from jaxae.runs.position import save, save_on_interrupt
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Epoch, Recipe, check_range, of_split
from jaxae.runs.recording import Recorder, Trainee, finish, make_recorder, record_chunk
from jaxae.runs.restoring import saved_tree, starting_point
from jaxae.runs.stopping import describe_stop, records_until, warn_of_test_images
from jaxae.runs.testing import make_test_record
from jaxae.train import check_examples, steps_in_epoch


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
    trainee = make_ready(run, recipe)
    again = restored_epoch(trainee)
    if again is not None:
        yield again
    if not trainee.ended:
        yield from _trained_epochs(trainee, on_chunk)


def make_ready(run: Run, recipe: Recipe) -> Trainee:
    """Returns a run that is ready to train, with its config.json written.

    Raises `UserError` as `train_epochs` does.
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
    trainee = Trainee(run, recipe, examples, state, totals, steps_per_epoch, test_record, untrained)
    done, stop = trainee.steps, None
    if done < shared.epochs * steps_per_epoch and done % steps_per_epoch == 0:
        stop = describe_stop(records_until(run.folder, done // steps_per_epoch), shared.patience)
    trainee = replace(trainee, stop=stop)
    _open_records(run, recipe, done, steps_per_epoch, ended=trainee.ended)
    if stop is not None:
        progress.show_line(stop)
    return trainee


def restored_epoch(trainee: Trainee) -> Epoch | None:
    """Returns the epoch that a run has ended with, or that it continues after; None in an epoch.

    The latter is drawn again, because the run may have been killed before.
    """
    if trainee.ended:
        epoch = _restored_epoch(trainee, last=True)
        finish(trainee, epoch)
        return epoch
    resumed = trainee.run.shared.resume is not None
    if resumed and trainee.steps and trainee.steps % trainee.steps_per_epoch == 0:
        return _restored_epoch(trainee, last=False)
    return None


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
        command=run.command,
        corrupted_tests=recipe.test_examples is not None
        and recipe.test_examples.inputs is not None,
        standardized=recipe.standardized,
        loss_unit=recipe.loss_unit,
    )
    print(f"{run.label} on {run.dataset.name}: {run.folder}", flush=True)
    if shared.patience is not None:
        warn_of_test_images(run, "--patience", "stops")
    if shared.resume is not None:
        if shared.initial_epoch is not None:
            checkpoint.delete_after(run.checkpointer, done)
        else:
            checkpoint.set_aside_after(run.checkpointer, done, "damaged")
        records.keep_records(run.folder, done_epochs)


def _trained_epochs(
    trainee: Trainee, on_chunk: Callable[[train.Progress], None] | None
) -> Iterator[Epoch]:
    """Trains to the end of the last epoch, and verifies the last checkpoint."""
    run, recipe, shared = trainee.run, trainee.recipe, trainee.run.shared
    recorder = make_recorder(trainee)
    position, meter = recorder.position, recorder.meter
    chunks = train.fit(
        trainee.state,
        trainee.examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=shared.epochs,
        batch_size=shared.batch_size,
        totals=trainee.totals,
        chunk_steps=1 if shared.debug else recipe.chunk_steps,
        drop_remainder=shared.drop_remainder,
        mesh=run.mesh,
        numbers=recipe.numbers,
        revise=lambda _: position.state,  # which has observed the loss
    )
    all_images = shared.epochs * trainee.images_per_epoch
    with progress.open_bar(all_images, meter.images) as bar, save_on_interrupt(run, position):
        for chunk, seconds in progress.timed(chunks):
            before = position.steps
            with keep_interrupts():
                images = progress.images_done(chunk, trainee.images_per_epoch)
                progress.show_loss(bar, chunk, shared.epochs, images)
                if on_chunk is not None:
                    on_chunk(chunk)
                epoch = record_chunk(recorder, chunk, seconds)
            if epoch is not None:
                yield epoch
            if devices.asked_to_stop(range(before + 1, position.steps + 1)):
                raise Terminated
            if epoch is not None and epoch.last:
                break
    verify(recorder)


def verify(recorder: Recorder) -> None:
    """Verifies a run's last checkpoint."""
    position = recorder.position
    tree = saved_tree(position.state, position.totals)
    checkpoint.verify_latest(recorder.trainee.run.checkpointer, tree)


def _restored_epoch(trainee: Trainee, *, last: bool) -> Epoch:
    """Returns the epoch that a restored state has finished, with its record or a new one.

    A recorded epoch that was not tested, and has become the last one, is tested and saved again.
    """
    run, state = trainee.run, trainee.state
    restored = run.shared.restored
    assert restored is not None
    epoch = train.steps_done(state) // read_config(restored).steps_per_epoch
    recorded = [line for line in read_records(run.folder) if line["epoch"] == epoch]
    fresh = {"epoch": epoch, "dataset": run.dataset.name}
    record = recorded[-1] if recorded else fresh
    late = bool(recorded) and last and not records.is_tested(record)
    if late or not recorded:
        record = {**record, **trainee.test_record(state)}
    if late:
        records.replace_record(run.folder, record, run.trackers)
        save(run, state, trainee.totals, records.mean_watched_loss(record))
    return Epoch(epoch, state, last, record, trainee.recipe)
