"""A trained network, ready for use: from an epoch that has just ended, or from a run's folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import ScopeParamShapeError
from jax.typing import ArrayLike

from jaxae import checkpoint, data, likelihoods, models, objectives
from jaxae.checksums import named_leaves
from jaxae.configs import FILE, Config, SavedNetwork, read_config
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.train import Variables, apply_in_parts, as_array, canonicalize_array, check_floats


@dataclass(frozen=True)
class Trained:
    """A model, its variables, and the likelihood that says what its logits mean.

    Of many images or codes a few at a time are computed, whose activations fit in memory.
    """

    model: nn.Module
    likelihood: Likelihood
    variables: Variables  # what `model.apply` takes
    standardized: bool = False  # whether it was trained on floats around 0, not in [0, 1]

    @property
    def classes(self) -> int | None:
        """How many classes a conditional network knows; None for any other, which reads none."""
        return getattr(self.model, "classes", None)

    def reconstruct(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Reconstructions in [0, 1] of images [N, H, W, C], uint8 or floats as trained on."""
        return self._apply(objectives.reconstruct, images, labels)

    def encode(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """The codes of images [N, H, W, C], uint8 or floats as trained on."""
        return self._apply(objectives.encode, images, labels)

    def decode(self, z: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """The images [N, H, W, C] in [0, 1] that codes stand for."""
        return self._apply(objectives.decode, z, labels)

    def _apply(
        self, function: Callable[..., jax.Array], values: ArrayLike, labels: ArrayLike | None
    ) -> np.ndarray:
        name = "codes" if function is objectives.decode else "images"
        values = np.asarray(canonicalize_array(name, values))
        labels = self._checked_labels(labels, len(values) if values.ndim else 0)
        # Dark bytes are no mistake, nor bright floats: a few images are not a whole set.
        if name == "images" and values.size and values.dtype != np.uint8:
            check_floats(name, values, standardized=self.standardized)

        def apply(values: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
            of = {"model": self.model, "likelihood": self.likelihood}
            return np.asarray(function(self.variables, values, labels, **of))

        try:
            return apply_in_parts(apply, values, *(() if labels is None else (labels,)))
        except (ScopeParamShapeError, TypeError, IndexError) as error:
            raise UserError(
                f"{values.dtype} of shape {values.shape} was given to a network that was trained "
                "on other shapes: give what it was trained on, images [N, H, W, C] or the codes of "
                "its encode"
            ) from error

    def _checked_labels(self, labels: ArrayLike | None, count: int) -> np.ndarray | None:
        """Labels that the network can read, or None where it reads none."""
        if self.classes is None:
            return None
        if labels is None:
            raise UserError(
                f"a network of {self.classes} classes was given no labels: give one for each"
            )
        labels = np.asarray(as_array("labels", labels))
        known = np.issubdtype(labels.dtype, np.integer) and labels.shape == (count,)
        if not known or (count and not 0 <= labels.min() <= labels.max() < self.classes):
            raise UserError(
                f"labels {labels.dtype} of shape {labels.shape} were given for {count}: give "
                f"integers [{count}] from 0 to {self.classes - 1}"
            )
        return labels.astype(np.int32)


def load(
    folder: str | Path, step: int | Literal["best"] | None = None, *, replica: int = 0
) -> Trained:
    """The network that a run has trained, without its optimizer. Runs no code of the run's.

    Args:
      folder: the run's.
      step: of the checkpoint, or "best" for the one of lowest test loss; by default the latest.
      replica: which one, where the run has several.

    Raises:
      UserError: there is no such run, checkpoint or replica, or the network is not one of
        `jaxae.models` under one of `jaxae.likelihoods`.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.network is None:
        raise UserError(
            f"the network of {folder}, or its likelihood, is not of jaxae.models and "
            "jaxae.likelihoods: build it yourself, and give it what "
            "jaxae.checkpoint.load_variables returns"
        )
    count = config.options.run.replicas
    model, likelihood, expected = build_network(folder, config.network, config.dataset.image_shape)
    if not 0 <= replica < count:
        raise UserError(f"replica {replica} of {folder}: it has those from 0 to {count - 1}")
    variables = checkpoint.load_variables(folder / "checkpoints", step)
    check_shapes(folder, expected, variables, count)
    if count > 1:
        variables = jax.tree.map(lambda leaf: leaf[replica], variables)
    return Trained(model, likelihood, variables, config.standardized)


def build_network(
    folder: Path, network: SavedNetwork, shape: tuple[int, int, int]
) -> tuple[nn.Module, Likelihood, Variables]:
    """A described network, its likelihood, and its variables as shapes; UserError if it is none."""
    try:
        likelihood = likelihoods.named(network.likelihood)
        model = models.build(network.model)
        labels = objectives.condition(model, jnp.zeros(1, jnp.int32))
        image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        return model, likelihood, jax.eval_shape(model.init, jax.random.key(0), image, *labels)
    except UserError as error:
        raise UserError(f"{folder / FILE}: {error}") from None
    except Exception as error:  # whatever Linen and JAX make of a network that is none
        raise UserError(
            f"{folder / FILE} describes no network of this version "
            f"({type(error).__name__}: {str(error)[:300]}): give a run that it has trained"
        ) from None


def check_shapes(folder: Path, expected: Variables, saved: Variables, replicas: int) -> None:
    """UserError unless the variables that a network needs are saved, in their shapes."""
    found = named_leaves(saved)
    for name, leaf in named_leaves(expected).items():
        shape = (replicas, *leaf.shape) if replicas > 1 else leaf.shape
        if name not in found or found[name].shape != shape:
            there = found[name].shape if name in found else "not there"
            raise UserError(
                f"{folder / FILE} describes a network whose {name} has the shape {shape}, and in "
                f"its checkpoint it is {there}: give a run whose files are as they were written"
            )


def load_dataset(
    folder: Path, config: Config, *, data_dir: Path | None, sources: Path | None
) -> data.Dataset:
    """The dataset that a run has trained on, from the places given or the user's defaults.

    Raises UserError where it is not at hand, or has other content than the run has seen.
    """
    shared, expected = config.options.run, config.dataset
    data.check_data_dir(folder, expected.name, shared.data_dir, data_dir)
    dataset = data.load(expected.name, data_dir=data_dir, sources=sources, stream=shared.stream)
    if dataset.fingerprint != expected.fingerprint:
        raise UserError(
            f"{folder} was trained on a {expected.name} with other content than is found now: "
            "give the data that it was trained on (--data-dir, --sources)"
        )
    return dataset


def describe_network(model: nn.Module, likelihood: Likelihood) -> dict[str, Any] | None:
    """What config.json says of a network, for `load`; None where it has parts without a name."""
    name = likelihoods.name_of(likelihood)
    try:
        return None if name is None else {"model": models.describe(model), "likelihood": name}
    except UserError:
        return None
