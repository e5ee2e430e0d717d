"""The state that a run starts from, new or from a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxae import checkpoint, devices, train
from jaxae.errors import UserError
from jaxae.runs.config import read_config
from jaxae.runs.folder import Run
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Recipe
from jaxae.runs.seeds import initial_state
from jaxae.train import Examples


def starting_point(
    run: Run,
    recipe: Recipe,
    examples: Examples,
    test_record: Callable[[train.State], dict[str, Any]],
) -> tuple[train.State, train.Metrics, dict[str, Any] | None]:
    """Returns the state to train from and the totals of its epoch, new or from a checkpoint.

    Also returns the test numbers of the untrained network, or None if the run does not train.
    """
    state = initial_state(
        run.shared, recipe.network.model, recipe.optimizer, run.shape, recipe.collections
    )
    totals = train.no_totals(
        state,
        examples,
        objective=recipe.objective,
        batch_size=run.shared.batch_size,
    )
    if run.mesh is not None:
        state, totals = devices.place((state, totals), devices.on_each(run.mesh))
    untrained = None if run.shared.load is not None else test_record(state)
    restored = run.shared.restored
    if restored is None:
        return state, totals, untrained
    if run.shared.restart:
        checkpoint.set_aside_after(run.checkpointer, -1, "the run starts anew")
        return state, totals, untrained
    if run.shared.resume and not checkpoint.steps(restored / "checkpoints"):
        _check_untrained(restored)
        print(f"{restored} was stopped before its first checkpoint: it starts anew", flush=True)
        return state, totals, untrained
    epoch = run.shared.initial_epoch
    if epoch is not None:
        step = step_of_epoch(restored, epoch)
    else:
        step = None if run.shared.resume else read_config(restored).default_step
    tree = {"state": state, "totals": totals}
    tree = checkpoint.restore(restored / "checkpoints", tree, step)
    return tree["state"], tree["totals"], untrained


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


def saved_tree(state: train.State, totals: train.Metrics) -> dict[str, Any]:
    """Returns what a checkpoint holds; restoring it needs only the state and the totals."""
    averaged = train.averaged_params(state)
    tree = {"state": state, "totals": totals}
    return tree if averaged is None else {**tree, checkpoint.AVERAGED: averaged}


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
