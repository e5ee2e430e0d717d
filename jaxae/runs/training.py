"""Training a run, epoch by epoch, with its books kept."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxae import checkpoint, devices, objectives, train
from jaxae.errors import Terminated, UserError
from jaxae.models import count_parameters
from jaxae.runs import progress, records
from jaxae.runs.config import read_config
from jaxae.runs.divergence import check_finite, warn_of_losses
from jaxae.runs.folder import Run, check_folder, step_of_epoch
from jaxae.runs.loading import describe_network
from jaxae.runs.pictures import draw_curves
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Epoch, Recipe, first_replica, of_split
from jaxae.runs.seeds import fixed_keys, initial_state
from jaxae.train import Examples, check_examples, steps_in_epoch


def train_epochs(
    run: Run,
    recipe: Recipe,
    *,
    on_chunk: Callable[[train.Progress], None] | None = None,
) -> Iterator[Epoch]:
    """Trains a run and keeps its books, yielding each finished epoch once it is on record.

    A run that is loaded, or resumed with nothing left to do, is evaluated and yielded once; one
    that is resumed after an epoch yields that epoch again. After Ctrl-C the state is saved where
    training stands, and resuming goes on from there.

    Args:
      run: an open run.
      recipe: what is trained, and how.
      on_chunk: called with the progress after each chunk of steps.

    Raises:
      UserError: the checkpoint to start from does not fit, or the examples cannot be trained on.
    """
    shared = run.shared
    examples = check_examples(recipe.examples or of_split(run.dataset.train), shared.batch_size)
    size = len(examples.images)
    steps_per_epoch = steps_in_epoch(size, shared.batch_size)
    state, totals = starting_point(run, recipe, examples)
    test_record = make_test_record(run, recipe)
    done = train.steps_done(state)
    nothing_left = done >= shared.epochs * steps_per_epoch
    if shared.resume is not None and done > shared.epochs * steps_per_epoch:
        raise UserError(
            f"--epochs {shared.epochs}: {run.folder} has trained {done // steps_per_epoch} epochs; "
            "give as many or more"
        )
    if shared.resume is not None:
        read_records(run.folder)  # a damaged one is refused before anything is written
    if shared.resume is not None and not nothing_left:
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
    if shared.resume is not None:
        if shared.initial_epoch is not None:
            checkpoint.delete_after(run.checkpointer, done)
        else:
            checkpoint.set_aside_after(run.checkpointer, done, "damaged")
        records.keep_records(run.folder, done // steps_per_epoch)
    if shared.load is not None or nothing_left:
        epoch = restored_epoch(run, recipe, state, test_record, last=True)
        finish(run, state, epoch.record)
        yield epoch
        return
    if shared.resume is not None and done and done % steps_per_epoch == 0:
        # Once more, for the run may have been killed before it was drawn.
        yield restored_epoch(run, recipe, state, test_record, last=False)

    chunks = train.fit(
        state,
        examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=shared.epochs,
        batch_size=shared.batch_size,
        totals=totals,
        chunk_steps=1 if shared.debug else recipe.chunk_steps,
        mesh=run.mesh,
    )
    images_per_epoch = shared.replicas * size
    images = done * images_per_epoch // steps_per_epoch
    timed_images, seconds = 0, 0.0  # of the epoch, or of what is left of a resumed one
    saved = shared.resume is not None
    with progress.open_bar(shared.epochs * images_per_epoch, images) as bar:
        try:
            for chunk, chunk_seconds in progress.timed(chunks):
                timed_images -= images
                images = progress.images_done(chunk, images_per_epoch)
                timed_images += images
                seconds += chunk_seconds
                progress.show_loss(bar, chunk, shared.epochs, images)
                check_finite(
                    chunk,
                    examples,
                    objective=recipe.objective,
                    batch_size=shared.batch_size,
                    debug=shared.debug,
                )
                if on_chunk is not None:
                    on_chunk(chunk)
                record = {}
                if chunk.finished_epoch:
                    record = {
                        "epoch": chunk.epoch,
                        "dataset": run.dataset.name,
                        **records.flatten_replicas("train_", chunk.metrics),
                        **test_record(chunk.state),
                        "seconds": seconds,
                        "images_per_second": timed_images / seconds,
                    }
                    timed_images, seconds = 0, 0.0
                    check_folder(run)
                    # First the line, then the checkpoint: resuming drops lines that are ahead.
                    records.append_record(run.folder, record, run.board)
                    save(run, chunk.state, chunk.totals, record["test_loss"])
                    progress.show_epoch(shared.epochs, record)
                # Only now does an interrupted run stand here, where nothing is left unrecorded.
                state, totals, saved = chunk.state, chunk.totals, chunk.finished_epoch
                if chunk.finished_epoch:
                    last = chunk.epoch == shared.epochs
                    if last:
                        finish(run, state, record)
                    yield Epoch(chunk.epoch, state, last, record, recipe)
                before, done = done, train.steps_done(chunk.state)
                if devices.asked_to_stop(range(before + 1, done + 1)):
                    raise Terminated
        except KeyboardInterrupt as stop:
            # Of several processes, only Terminated stops all after the same step.
            if not saved and (jax.process_count() == 1 or isinstance(stop, Terminated)):
                save(run, state, totals, math.inf)
            raise
    checkpoint.verify_latest(run.checkpointer, {"state": state, "totals": totals})


def make_test_record(run: Run, recipe: Recipe) -> Callable[[train.State], dict[str, Any]]:
    """A function from a state to the test numbers of its record."""
    test_examples = devices.put(recipe.test_examples or of_split(run.dataset.test), run.mesh)
    evaluate = train.make_evaluation(
        partial(
            objectives.with_image_errors,
            objective=recipe.test_objective or recipe.objective,
            network=recipe.network,
        ),
        recipe.test_batch_size,
        replicas=run.shared.replicas > 1,
        mesh=run.mesh,
    )

    def test_record(state: train.State) -> dict[str, Any]:
        test = evaluate(train.variables_of(state), fixed_keys().evaluation, test_examples)
        return records.flatten_replicas("test_", test)

    return test_record


def restored_epoch(
    run: Run,
    recipe: Recipe,
    state: train.State,
    test_record: Callable[[train.State], dict[str, Any]],
    *,
    last: bool,
) -> Epoch:
    """The epoch that a restored state has finished, with its record or a new one."""
    restored = run.shared.restored
    assert restored is not None
    epoch = train.steps_done(state) // read_config(restored).steps_per_epoch
    recorded = [line for line in read_records(run.folder) if line["epoch"] == epoch]
    fresh = {"epoch": epoch, "dataset": run.dataset.name}
    record = recorded[-1] if recorded else {**fresh, **test_record(state)}
    return Epoch(epoch, state, last, record, recipe)


def finish(run: Run, state: train.State, record: dict[str, Any]) -> None:
    """Writes summary.json, draws the losses on record, and warns of those that are not finite."""
    records.write_summary(run.folder, record, count_parameters(first_replica(state)))
    draw_curves(run)
    if devices.is_first_process():
        warn_of_losses(run.folder, read_records(run.folder) or [record])


def save(run: Run, state: train.State, totals: train.Metrics, loss: float) -> None:
    """Starts saving a checkpoint."""
    tree = {"state": state, "totals": totals}
    checkpoint.save(run.checkpointer, train.steps_done(state), tree, loss=loss)


def starting_point(
    run: Run, recipe: Recipe, examples: Examples
) -> tuple[train.State, train.Metrics]:
    """The state to train from and its unfinished epoch's totals: new, or from a checkpoint."""
    state = initial_state(
        run.shared, recipe.network.model, recipe.optimizer, run.shape, recipe.collections
    )
    totals = train.no_totals(
        state,
        examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        batch_size=run.shared.batch_size,
    )
    if run.mesh is not None:
        state, totals = devices.place((state, totals), devices.on_each(run.mesh))
    restored = run.shared.restored
    if restored is None:
        return state, totals
    if run.shared.restart:
        checkpoint.set_aside_after(run.checkpointer, -1, "the run starts anew")
        return state, totals
    if run.shared.resume and not checkpoint.steps(restored / "checkpoints"):
        check_untrained(restored)
        print(f"{restored} was stopped before its first checkpoint: it starts anew", flush=True)
        return state, totals
    step = step_of_epoch(restored, run.shared.initial_epoch)
    tree = {"state": state, "totals": totals}
    tree = checkpoint.restore(restored / "checkpoints", tree, step)
    return tree["state"], tree["totals"]


def check_untrained(folder: Path) -> None:
    """UserError where a run without a checkpoint has trained for longer than until its first.

    A run that is killed while it saves its first, beside the training of the second epoch, has two
    epochs on record.
    """
    checkpoints = folder / "checkpoints"
    finished = (folder / "summary.json").exists()
    if finished or len(read_records(folder)) > 2 or checkpoint.has_set_aside(checkpoints):
        raise UserError(
            f"{folder} has trained, and no checkpoint is left in {checkpoints} to go on from: put "
            "back a copy of one, or start the run anew over it with --restart"
        )
