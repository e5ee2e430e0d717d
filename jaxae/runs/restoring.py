"""The state that a run starts from, new or from a checkpoint."""

from pathlib import Path

from jaxae import checkpoint, devices, train
from jaxae.errors import UserError
from jaxae.runs.folder import Run, step_of_epoch
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Recipe
from jaxae.runs.seeds import initial_state
from jaxae.train import Examples


def starting_point(
    run: Run, recipe: Recipe, examples: Examples
) -> tuple[train.State, train.Metrics]:
    """Returns the state to train from and the totals of its epoch, new or from a checkpoint."""
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
        _check_untrained(restored)
        print(f"{restored} was stopped before its first checkpoint: it starts anew", flush=True)
        return state, totals
    epoch = run.shared.initial_epoch
    step = None if epoch is None else step_of_epoch(restored, epoch)
    tree = {"state": state, "totals": totals}
    tree = checkpoint.restore(restored / "checkpoints", tree, step)
    return tree["state"], tree["totals"]


def _check_untrained(folder: Path) -> None:
    """Raises `UserError` if a run without a checkpoint has trained past its first.

    The first checkpoint is saved while the second epoch trains, so a run that is killed meanwhile
    can have two epochs on record.
    """
    checkpoints = folder / "checkpoints"
    finished = (folder / "summary.json").exists()
    if finished or len(read_records(folder)) > 2 or checkpoint.has_set_aside(checkpoints):
        raise UserError(
            f"{folder} has trained, and no checkpoint is left in {checkpoints} to continue from: "
            "restore a copy of one, or train the run from its start with --restart"
        )
