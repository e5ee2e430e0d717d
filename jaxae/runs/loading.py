"""Trained networks, loaded from a run's folder and described in its config.json."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxae import checkpoint, data, likelihoods, models
from jaxae.checkpoint import named_leaves
from jaxae.errors import UserError
from jaxae.network import Network, Trained, label_arguments
from jaxae.runs.config import (
    CONFIG_FILE,
    Config,
    SavedDataset,
    SavedNetwork,
    check_dataset,
    read_config,
)
from jaxae.train import Variables


def load(
    folder: str | Path, step: int | Literal["best"] | None = None, *, replica: int = 0
) -> Trained:
    """Loads the network that a run has trained, without its optimizer; runs no code of the run.

    Args:
      folder: the run's folder.
      step: the step of a checkpoint, or "best" for the lowest test loss; by default the latest.
      replica: the replica to load, if the run has several.

    Raises:
      UserError: there is no such run, checkpoint or replica, or the network is not from
        `jaxae.models`, or its likelihood not from `jaxae.likelihoods`.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.network is None:
        raise UserError(
            f"the network of {folder} is not from jaxae.models, or its likelihood not from "
            "jaxae.likelihoods: build it yourself, and apply it to the variables that "
            "jaxae.checkpoint.load_variables returns"
        )
    count = config.options.run.replicas
    network, expected = _build_network(folder, config.network, config.dataset.image_shape)
    if not 0 <= replica < count:
        raise UserError(f"replica {replica} of {folder}: give one from 0 to {count - 1}")
    variables = checkpoint.load_variables(folder / "checkpoints", step)
    _check_shapes(folder, expected, variables, count)
    if count > 1:
        variables = jax.tree.map(lambda leaf: leaf[replica], variables)
    return Trained(network, variables, config.standardized)


def _build_network(
    folder: Path, network: SavedNetwork, shape: tuple[int, ...]
) -> tuple[Network, Variables]:
    """Builds a described network, and its variables as shapes; raises `UserError` if it cannot."""
    try:
        likelihood = likelihoods.named(network.likelihood)
        model = models.build(network.model)
        labels = label_arguments(model, jnp.zeros(1, jnp.int32))
        image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        expected = jax.eval_shape(model.init, jax.random.key(0), image, *labels)
        return Network(model, likelihood), expected
    except UserError as error:
        raise UserError(f"{folder / CONFIG_FILE}: {error}") from None
    except Exception as error:  # Linen and JAX raise errors of many types
        raise UserError(
            f"{folder / CONFIG_FILE} describes a network that this version cannot build "
            f"({type(error).__name__}: {str(error)[:300]}): give a run that this version trained"
        ) from None


def _check_shapes(folder: Path, expected: Variables, saved: Variables, replicas: int) -> None:
    """Raises `UserError` unless all variables that a network needs are saved, in their shapes."""
    found = named_leaves(saved)
    for name, leaf in named_leaves(expected).items():
        shape = (replicas, *leaf.shape) if replicas > 1 else leaf.shape
        if name not in found or found[name].shape != shape:
            there = f"the shape {found[name].shape}" if name in found else "no such array"
            raise UserError(
                f"{folder / CONFIG_FILE} describes a network whose {name} has the shape {shape}, "
                f"and its checkpoint has {there}: give a run whose files have not changed"
            )


def load_dataset(
    folder: Path,
    config: Config,
    *,
    path: str | None = None,
    data_dir: Path | None,
    sources: Path | None,
) -> data.Dataset:
    """Loads the dataset that a run was trained on, from the given places or the user's defaults.

    `path` is that of the user's own data, by default where it was last read. Raises `UserError` if
    the dataset cannot be found, or if its content has changed.
    """
    shared, trained_on = config.options.run, config.dataset
    if trained_on.own:
        name = own_path(folder, trained_on, path)
    elif path is not None:
        raise UserError(
            f"--dataset {path}: {folder} was trained on {trained_on.name}, which is found by its "
            "name; leave it out"
        )
    else:
        name = trained_on.name
        data.check_data_dir(folder, name, shared.data_dir, data_dir)
    dataset = data.load(
        name, data_dir=data_dir, sources=sources, stream=shared.stream, reading=shared.reading
    )
    check_dataset(folder, config, dataset)
    return replace(dataset, name=trained_on.name)


def own_path(folder: Path, trained_on: SavedDataset, given: str | None) -> str:
    """Returns the path of a user's own data: the one given, else where it was last read.

    Raises `UserError` if neither is known.
    """
    path = given or data.find_own(trained_on.name, trained_on.fingerprint)
    if path is None:
        raise UserError(
            f"{folder} was trained on data of your own, {trained_on.name}, which is not found "
            "here: give its path with --dataset"
        )
    return path


def describe_network(network: Network) -> dict[str, Any] | None:
    """Describes a network for config.json and `load`; None if a part of it has no name."""
    name = likelihoods.name_of(network.likelihood)
    try:
        model = models.describe(network.model)
        return None if name is None else {"model": model, "likelihood": name}
    except UserError:
        return None
