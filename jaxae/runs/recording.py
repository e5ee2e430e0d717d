"""Recording of a run in training: after each chunk of steps, it is counted, checked and saved."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxae import devices, train
from jaxae.models import count_parameters
from jaxae.runs import progress, records
from jaxae.runs.divergence import check_finite, describe_divergence, warn_of_losses
from jaxae.runs.folder import Run
from jaxae.runs.health import make_health_check
from jaxae.runs.interrupts import defer_interrupts
from jaxae.runs.meter import Meter
from jaxae.runs.pictures import draw_curves
from jaxae.runs.position import Position, save_epoch
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Epoch, Recipe
from jaxae.runs.stopping import describe_stop, records_until
from jaxae.runs.testing import is_due
from jaxae.train import Examples


@dataclass(frozen=True)
class Trainee:
    """A run that is ready to train, and the state that it starts from."""

    run: Run
    recipe: Recipe
    examples: Examples
    state: train.State
    totals: train.Metrics  # of the epoch that the state is in
    steps_per_epoch: int
    test_record: Callable[[train.State], dict[str, Any]]
    untrained: dict[str, Any] | None  # the test numbers before training, if the run has trained
    stop: str | None = None  # why --patience has ended the run already

    @property
    def steps(self) -> int:
        """The number of steps that the state has taken."""
        return train.steps_done(self.state)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train."""
        shared = self.run.shared
        done = self.steps >= shared.epochs * self.steps_per_epoch
        return shared.load is not None or done or self.stop is not None

    @property
    def images_per_epoch(self) -> int:
        """The number of images that all replicas train on in an epoch."""
        shared = self.run.shared
        size = min(len(self.examples.images), self.steps_per_epoch * shared.batch_size)
        return shared.replicas * size


@dataclass(frozen=True)
class Recorder:
    """What is known of a run in training; the position, the meter and the lines change."""

    trainee: Trainee
    position: Position
    meter: Meter
    lines: list[dict[str, Any]]  # the records of all epochs
    check_health: Callable[[train.State, int], dict[str, str]]


def make_recorder(trainee: Trainee) -> Recorder:
    """Returns a recorder of a run that has not ended."""
    run = trainee.run
    return Recorder(
        trainee,
        Position(trainee.state, trainee.totals, saved=run.shared.resume is not None),
        Meter(trainee.steps * trainee.images_per_epoch // trainee.steps_per_epoch),
        records_until(run.folder, trainee.steps // trainee.steps_per_epoch),
        make_health_check(run, trainee.recipe),
    )


def record_chunk(recorder: Recorder, chunk: train.Progress, seconds: float) -> Epoch | None:
    """Counts a chunk of steps; if it finishes an epoch, tests, records, saves and returns that.

    Raises `UserError` for steps that are not finite.
    """
    trainee = recorder.trainee
    run, recipe, shared = trainee.run, trainee.recipe, trainee.run.shared
    recorder.meter.count(progress.images_done(chunk, trainee.images_per_epoch), seconds)
    check_finite(
        chunk,
        trainee.examples,
        objective=recipe.objective,
        batch_size=shared.batch_size,
        debug=shared.debug,
    )
    if not chunk.finished_epoch:
        recorder.position.move_to(chunk)
        return None
    faults = recorder.check_health(chunk.state, chunk.epoch)
    record = {
        "epoch": chunk.epoch,
        "dataset": run.dataset.name,
        **records.flatten_replicas("train_", chunk.metrics),
        **(trainee.test_record(chunk.state) if is_due(shared, chunk.epoch) else {}),
        **({"warnings": list(faults)} if faults else {}),
        **recorder.meter.finish_epoch(),
    }
    chunk = chunk._replace(state=_observe(run, chunk, record))
    with defer_interrupts():  # which would save a position that is not recorded
        save_epoch(run, chunk, record)
        progress.show_warnings(faults.values())
        recorder.position.move_to(chunk)
    recorder.lines.append(record)
    last = chunk.epoch == shared.epochs
    stop = None if last else describe_stop(recorder.lines, shared.patience)
    if stop is not None:
        progress.show_line(stop)
    epoch = Epoch(chunk.epoch, chunk.state, last or stop is not None, record, recipe)
    if epoch.last:
        finish(trainee, epoch)
    return epoch


def _observe(run: Run, chunk: train.Progress, record: dict[str, Any]) -> train.State:
    """Returns the state of a finished epoch, whose schedule has observed the loss if it was tested.

    A test that only the last epoch has is not observed: a resumed run with more epochs had none.
    """
    if chunk.epoch % run.shared.evaluate_every:
        return chunk.state
    return train.observe_loss(chunk.state, records.watched_loss(record))


def finish(trainee: Trainee, epoch: Epoch) -> None:
    """Writes summary.json, draws the recorded losses, and warns if the run has diverged."""
    run = trainee.run
    divergence = describe_divergence(epoch.record, trainee.untrained)
    warning = {} if divergence is None else {"warning": divergence}
    early = run.shared.load is None and epoch.number < run.shared.epochs
    stopped = {"stopped_early": True} if early else {}
    parameters = count_parameters(epoch.variables)
    records.write_summary(run.folder, {**epoch.record, **stopped, **warning}, parameters)
    draw_curves(run, epoch.recipe.loss_unit)
    if devices.is_first_process():
        warn_of_losses(run.folder, read_records(run.folder) or [epoch.record], divergence)
