"""Runs: their options, folders, recipes and training, and the files that they write."""

from jaxae.runs.binarization import binarized_test, binarized_train, with_binarization
from jaxae.runs.config import (
    CONFIG_FILE,
    Config,
    SavedDataset,
    check_dataset,
    label_replica,
    read_config,
)
from jaxae.runs.disk import is_locked
from jaxae.runs.environment import (
    command_line,
    describe_environment,
    git_commit,
    portable,
    split_command,
    words_of,
)
from jaxae.runs.folder import Run, add_to_summary, find_dataset, start
from jaxae.runs.loading import (
    check_fits,
    load,
    load_dataset,
    own_network,
    own_path,
    with_variables,
)
from jaxae.runs.options import (
    OPTION_GROUPS,
    Binarization,
    Options,
    OptionsType,
    RunOptions,
    check_options,
    check_same,
)
from jaxae.runs.pictures import draw_reconstructions, loss_label, save_picture
from jaxae.runs.progress import skip_failed_picture
from jaxae.runs.reading import (
    curve,
    format_figure,
    loss_curves,
    read_evaluation,
    read_records,
    read_summary,
    spell_out,
)
from jaxae.runs.recipes import Epoch, Recipe, first_replica, of_split, reconstruction_recipe
from jaxae.runs.records import best_record, flatten_replicas, pictures_by_epoch, watched_loss
from jaxae.runs.restoring import step_of_epoch
from jaxae.runs.seeds import fixed_keys, initial_state, seeded_state
from jaxae.runs.stopping import describe_stop, warn_of_test_images
from jaxae.runs.together import Outcome, train_together
from jaxae.runs.training import train_epochs
from jaxae.runs.warmup import with_kl_warmup

__all__ = [
    "CONFIG_FILE",
    "OPTION_GROUPS",
    "Binarization",
    "Config",
    "Epoch",
    "Options",
    "OptionsType",
    "Outcome",
    "Recipe",
    "Run",
    "RunOptions",
    "SavedDataset",
    "add_to_summary",
    "best_record",
    "binarized_test",
    "binarized_train",
    "check_dataset",
    "check_fits",
    "check_options",
    "check_same",
    "command_line",
    "curve",
    "describe_environment",
    "describe_stop",
    "draw_reconstructions",
    "find_dataset",
    "first_replica",
    "fixed_keys",
    "flatten_replicas",
    "format_figure",
    "git_commit",
    "initial_state",
    "is_locked",
    "label_replica",
    "load",
    "load_dataset",
    "loss_curves",
    "loss_label",
    "of_split",
    "own_network",
    "own_path",
    "pictures_by_epoch",
    "portable",
    "read_config",
    "read_evaluation",
    "read_records",
    "read_summary",
    "reconstruction_recipe",
    "save_picture",
    "seeded_state",
    "skip_failed_picture",
    "spell_out",
    "split_command",
    "start",
    "step_of_epoch",
    "train_epochs",
    "train_together",
    "warn_of_test_images",
    "watched_loss",
    "with_binarization",
    "with_kl_warmup",
    "with_variables",
    "words_of",
]
