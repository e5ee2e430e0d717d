"""Trained networks, loaded from a run's folder and described in its config.json."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxae import checkpoint, data, likelihoods, models
from jaxae.checkpoint import named_leaves
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.network import Network, Trained, init_variables
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
    folder: str | Path,
    step: int | Literal["best"] | None = None,
    *,
    replica: int = 0,
    model: nn.Module | Network | None = None,
    likelihood: Likelihood | str | None = None,
) -> Trained:
    """Loads the network that a run has trained, without its optimizer; runs no code of the run.

    Args:
      folder: the run's folder.
      step: the step of a checkpoint, or "best" for the lowest validation loss, or test loss if the
        run has no validation images; by default the latest, or of a run with --patience the best.
      replica: the replica to load, if the run has several.
      model: the network that was trained, or its module, if it is not from `jaxae.models`.
      likelihood: the likelihood of that module, or its name.

    Raises:
      UserError: there is no such run, checkpoint or replica, the variables in the checkpoint are
        not those of the model, or no model is given and the network is not from `jaxae.models`, or
        its likelihood not from `jaxae.likelihoods`.
    """
    folder = Path(folder)
    config = read_config(folder)
    count = config.options.run.replicas
    expected = _expect(folder, config, model, likelihood)
    if not isinstance(replica, int) or not 0 <= replica < count:
        raise UserError(f"replica {replica} of {folder}: give one from 0 to {count - 1}")
    step = config.default_step if step is None else step
    variables = checkpoint.load_variables(folder / "checkpoints", step)
    expected.check(variables, count)
    if count > 1:
        variables = jax.tree.map(lambda leaf: leaf[replica], variables)
    return Trained(expected.network, variables, config.standardized, config.dataset.scaling)


def with_variables(
    folder: Path,
    variables: Variables,
    *,
    model: nn.Module | Network | None = None,
    likelihood: Likelihood | str | None = None,
) -> Trained:
    """Returns the network that a folder's config.json describes, with variables of one replica.

    Raises `UserError` as `load` does, if the folder has no such file or the variables do not fit.
    """
    config = read_config(folder)
    expected = _expect(folder, config, model, likelihood)
    expected.check(variables, 1)
    return Trained(expected.network, variables, config.standardized, config.dataset.scaling)


@dataclass(frozen=True)
class _Expected:
    """A network, the shapes of its variables, and what to say if others were saved."""

    network: Network
    variables: Variables
    origin: str
    advice: str

    def check(self, saved: Variables, replicas: int) -> None:
        """Raises `UserError` unless saved variables have the shapes of the network's."""
        problem = _misfit(self.variables, saved, replicas)
        if problem is not None:
            raise UserError(f"{self.origin} has {problem}: {self.advice}")


def _expect(
    folder: Path,
    config: Config,
    model: nn.Module | Network | None,
    likelihood: Likelihood | str | None,
) -> _Expected:
    """Returns the network that is given, or the one that config.json describes."""
    shape = config.dataset.image_shape
    if model is not None or likelihood is not None:
        network = own_network(model, likelihood)
        origin, advice = "the model that was given", "give the one that the run has trained"
        return _Expected(network, check_fits(network, shape), origin, advice)
    if config.network is None:
        raise UserError(
            f"the network of {folder} is not from jaxae.models, or its likelihood not from "
            "jaxae.likelihoods, so config.json does not describe it: give the module that was "
            f"trained, as in jaxae.load({str(folder)!r}, model=Mine(), likelihood='bernoulli')"
        )
    network, variables = _build_network(folder, config.network, shape)
    origin = f"the network that {folder / CONFIG_FILE} describes"
    return _Expected(network, variables, origin, "give a run whose files have not changed")


def own_network(model: nn.Module | Network | None, likelihood: Likelihood | str | None) -> Network:
    """Returns a network of the user's own; raises `UserError` unless there is one of each part."""
    if isinstance(model, Network):
        if likelihood is not None:
            raise UserError(
                "a likelihood was given with a Network, which has one: leave it out, or give the "
                "Linen module alone"
            )
        return model
    if isinstance(model, type):
        raise UserError(
            f"the class {model.__name__} was given as the model: give an instance of it, such as "
            f"{model.__name__}()"
        )
    if not isinstance(model, nn.Module):
        kind = "no model" if model is None else f"a model of type {type(model).__name__}"
        raise UserError(f"{kind} was given: give a Flax Linen module, or a jaxae.network.Network")
    missing = [name for name in ("encode", "decode") if not callable(getattr(model, name, None))]
    if missing:
        raise UserError(
            f"{type(model).__name__} has no method {missing[0]}: give a module whose encode turns "
            "images into codes, whose decode turns codes into logits, and which does both when it "
            "is called"
        )
    if isinstance(likelihood, str):
        try:
            likelihood = likelihoods.named(likelihood)
        except KeyError:
            raise UserError(f"there is no likelihood {likelihood!r}: {_LIKELIHOODS}") from None
    if not isinstance(likelihood, Likelihood):
        kind = (
            "no likelihood was given with the model"
            if likelihood is None
            else f"a likelihood of type {type(likelihood).__name__} was given"
        )
        raise UserError(f"{kind}: {_LIKELIHOODS}")
    return Network(model, likelihood)


_LIKELIHOODS = f"give one of {', '.join(likelihoods.BY_NAME)}, or a jaxae.likelihoods.Likelihood"


def check_fits(network: Network, shape: tuple[int, ...]) -> Variables:
    """Returns the shapes of a network's variables.

    Raises `UserError` unless its model turns floats of a shape, without the batch axis, into the
    logits that its likelihood reads.
    """
    sides, kind = data.sides_of(shape), type(network.model).__name__
    try:
        variables = _abstract_variables(network.model, shape)
        labels = None if network.classes is None else jnp.zeros(1, jnp.int32)
        logits = jax.eval_shape(network.apply, variables, jnp.zeros((1, *shape)), labels)
    except UserError as error:
        raise UserError(f"{kind} cannot read examples of {sides}: {error}") from None
    except Exception as error:  # Linen and JAX raise errors of many types
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{kind} cannot read examples of {sides} ({type(error).__name__}: {reason}): give a "
            f"module that takes floats [B, {', '.join(map(str, shape))}] alone, or also labels if "
            "it has `classes`, and `train` if it differs in training"
        ) from None
    expected = (1, *shape[:-1], shape[-1] * network.likelihood.logits_per_channel)
    if jax.tree.map(jnp.shape, logits) != expected:
        given = jax.tree.leaves(jax.tree.map(lambda leaf: data.sides_of(leaf.shape[1:]), logits))
        raise UserError(
            f"{kind} turns examples of {sides} into {' and '.join(given)}, and its likelihood "
            f"reads logits of {data.sides_of(expected[1:])}: give a module that returns those"
        )
    return variables


def _abstract_variables(model: nn.Module, shape: tuple[int, ...]) -> Variables:
    """Returns the shapes of the variables that a module has for examples of a shape."""
    return jax.eval_shape(lambda: init_variables(model, jax.random.key(0), shape))


def _build_network(
    folder: Path, network: SavedNetwork, shape: tuple[int, ...]
) -> tuple[Network, Variables]:
    """Builds a described network, and its variables as shapes; raises `UserError` if it cannot."""
    try:
        likelihood = likelihoods.named(network.likelihood)
        model = models.build(network.model)
        return Network(model, likelihood), _abstract_variables(model, shape)
    except UserError as error:
        raise UserError(f"{folder / CONFIG_FILE}: {error}") from None
    except Exception as error:  # Linen and JAX raise errors of many types
        raise UserError(
            f"{folder / CONFIG_FILE} describes a network that this version cannot build "
            f"({type(error).__name__}: {str(error)[:300]}): give a run that this version trained"
        ) from None


def _misfit(expected: Variables, saved: Variables, replicas: int) -> str | None:
    """Returns how saved variables differ in shape from those that a network needs, or None."""
    found = named_leaves(saved)
    for name, leaf in named_leaves(expected).items():
        shape = (replicas, *leaf.shape) if replicas > 1 else leaf.shape
        if name not in found or found[name].shape != shape:
            there = f"the shape {found[name].shape}" if name in found else "no such array"
            return f"{name} of shape {shape}, and the checkpoint has {there}"
    return None


def load_dataset(
    folder: Path,
    config: Config,
    *,
    given: data.Dataset | None = None,
    path: str | None = None,
    data_dir: Path | None,
    sources: Path | None,
) -> data.Dataset:
    """Loads the dataset that a run was trained on, from the given places or the user's defaults.

    Its validation images are held out, as they were for the run. One that is given is only checked
    and divided like that. `path` is that of the user's own data, by default where it was last read.
    Raises `UserError` if the dataset cannot be found, or if its content has changed.
    """
    if given is not None:
        check_dataset(folder, config, given)
        return data.hold_out_validation(given, config.dataset.validation_images)
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
    dataset = data.hold_out_validation(dataset, trained_on.validation_images)
    return replace(dataset, name=trained_on.name)


def own_path(folder: Path, trained_on: SavedDataset, given: str | None) -> str:
    """Returns the path of a user's own data: the one given, else where it was last read.

    Raises `UserError` if neither is known.
    """
    path = given or data.find_own(trained_on.name, trained_on.fingerprint)
    if path is None:
        raise UserError(
            f"{folder} was trained on data of your own, {trained_on.name}, which is not found "
            "here: give its path with --dataset; if it was arrays in memory, continue the run with "
            "jaxae.fit, and evaluate it with jaxae.load(RUN).evaluate"
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
