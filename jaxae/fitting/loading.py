"""Trained runs, loaded from their folders, from exports, and from the Hugging Face Hub."""

from pathlib import Path
from typing import Literal

import flax.linen as nn

from jaxae import checkpoint, exports, runs
from jaxae.errors import UserError
from jaxae.fitting.trained_run import TrainedRun
from jaxae.likelihoods import Likelihood
from jaxae.network import Network


def load(
    folder: str | Path,
    step: int | Literal["best"] | None = None,
    *,
    replica: int = 0,
    model: nn.Module | Network | None = None,
    likelihood: Likelihood | str | None = None,
) -> TrainedRun:
    """Loads the network that a run has trained; runs no code from the run's folder.

    Args:
      folder: the run's folder, that of an export of it as safetensors or npz, or "hf:OWNER/NAME"
        for one on the Hugging Face Hub.
      step: the step of a checkpoint, or "best" for the lowest validation loss, or test loss if the
        run has no validation images; by default the latest, or of a run with --patience the best.
      replica: the replica to load, if the run has several.
      model: the network that was trained, or its module, if it is not from `jaxae.models`.
      likelihood: the likelihood of that module, or its name.

    Raises:
      UserError: as `jaxae.runs.load` does, or the export is damaged or cannot be fetched.
    """
    if isinstance(folder, str) and folder.startswith(exports.PREFIX):
        folder = exports.fetch(folder)
    _check_not_repository(folder)
    folder = Path(folder)
    if exports.is_export(folder):
        _check_alone(folder, step, replica)
        trained, contents = exports.read_export(folder, model=model, likelihood=likelihood)
        return TrainedRun(trained, folder, contents.step)
    config = runs.read_config(folder)  # whose error is the clearest if the folder is no run
    checkpoints = folder / "checkpoints"
    step = config.default_step if step is None else step
    if step is None:
        step = checkpoint.latest_step(checkpoints)
    elif step == "best":
        step = checkpoint.best_step(checkpoints, checkpoint.steps(checkpoints))
    trained = runs.load(folder, step, replica=replica, model=model, likelihood=likelihood)
    return TrainedRun(trained, folder, step, replica=replica)


def _check_not_repository(folder: str | Path) -> None:
    """Raises `UserError` for a folder that does not exist and is named like a repository."""
    if isinstance(folder, str) and exports.is_name(folder) and not Path(folder).exists():
        raise UserError(
            f"{folder} is not a run: it does not exist; give a run's folder, or for a repository "
            f"on the Hub give {exports.PREFIX}{folder}"
        )


def _check_alone(folder: Path, step: object, replica: object) -> None:
    """Raises `UserError` if a step or a replica is asked for; an export has one of each."""
    for name, given, default in (("step", step, None), ("replica", replica, 0)):
        if given != default:
            raise UserError(
                f"{name}={given!r} was given, and {folder} is an export of one checkpoint and "
                "replica: leave it out, or give the run"
            )
