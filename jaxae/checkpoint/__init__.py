"""A run's checkpoints, which Orbax saves during training and restores exactly."""

from jaxae.checkpoint.checksums import named_leaves
from jaxae.checkpoint.folder import EXPORT, check_not_export, check_path, has_set_aside, steps
from jaxae.checkpoint.reading import AVERAGED
from jaxae.checkpoint.restoring import best_step, latest_step, load_variables, restore
from jaxae.checkpoint.saving import (
    Checkpointer,
    delete_after,
    open_checkpoints,
    save,
    set_aside_after,
    verify_latest,
)

__all__ = [
    "AVERAGED",
    "EXPORT",
    "Checkpointer",
    "best_step",
    "check_not_export",
    "check_path",
    "delete_after",
    "has_set_aside",
    "latest_step",
    "load_variables",
    "named_leaves",
    "open_checkpoints",
    "restore",
    "save",
    "set_aside_after",
    "steps",
    "verify_latest",
]
