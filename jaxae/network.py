"""A network: a model and a likelihood as pure functions; and a trained one, ready for use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import ScopeParamShapeError
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood, name_of
from jaxae.models import (
    Autoencoder,
    Gaussian,
    HasPosterior,
    Quantizer,
    check_labels,
    count_parameters,
)
from jaxae.train import (
    Batch,
    Variables,
    apply_in_parts,
    as_array,
    canonicalize_array,
    check_floats,
    pixels,
)


@dataclass(frozen=True)
class Network:
    """A model and the likelihood that turns its logits into images and into a loss.

    The methods are pure functions of variables and arrays, so that they can be jitted,
    differentiated and mapped. Images are uint8 or floats [B, H, W, C] as `train.pixels` reads them;
    labels are int [B], which only a conditional model reads.
    """

    model: nn.Module
    likelihood: Likelihood

    @property
    def classes(self) -> int | None:
        """The number of classes that a conditional model knows; None for any other model."""
        return getattr(self.model, "classes", None)

    @property
    def has_posterior(self) -> bool:
        """Whether the model's codes are drawn from a posterior."""
        return isinstance(self.model, HasPosterior)

    @property
    def bottleneck(self) -> Callable[[Array], Array] | None:
        """What narrows the code of an `Autoencoder`; None for a model of another class."""
        return self.model.bottleneck if isinstance(self.model, Autoencoder) else None

    @property
    def quantizer(self) -> Quantizer | None:
        """The bottleneck if it quantizes codes, else None."""
        return self.bottleneck if isinstance(self.bottleneck, Quantizer) else None

    def encode(self, variables: Variables, images: Array, labels: Array | None = None) -> Array:
        """Codes of images, or the means of their posteriors."""
        return self.apply(variables, self.scale(images), labels, method="encode")

    def decode(self, variables: Variables, z: Array, labels: Array | None = None) -> Array:
        """Images [B, H, W, C] in [0, 1] that codes decode to."""
        return self.likelihood.image(self.apply(variables, z, labels, method="decode"))

    def reconstruct(
        self, variables: Variables, images: Array, labels: Array | None = None
    ) -> Array:
        """Reconstructions [B, H, W, C] in [0, 1], through codes or their posteriors' means."""
        return self.likelihood.image(self.apply(variables, self.scale(images), labels))

    def posterior(
        self, variables: Variables, images: Array, labels: Array | None = None
    ) -> Gaussian:
        """q(z | x) of images, or q(z | x, y) of images and their labels."""
        return self.apply(variables, self.scale(images), labels, method="posterior")

    def distortion(self, variables: Variables, z: Array, batch: Batch) -> Array:
        """The loss [B] of a batch's images under what codes [B, ...] decode to."""
        logits = self.apply(variables, z, batch.labels, method="decode")
        return self.likelihood.loss(logits, self.scale(batch.images))

    def distortions(self, variables: Variables, codes: Array, batch: Batch) -> Array:
        """The losses [samples, B] of a batch's images under codes [samples, B, latent]."""
        samples = len(codes)
        labels = None if batch.labels is None else jnp.tile(batch.labels, samples)
        # All at once: the gradient of a vmapped decoder takes a third longer on a CPU.
        logits = self.apply(variables, codes.reshape(-1, *codes.shape[2:]), labels, method="decode")
        logits = logits.reshape(samples, -1, *logits.shape[1:])
        return jax.vmap(self.likelihood.loss, (0, None))(logits, self.scale(batch.images))

    def scale(self, images: Array) -> Array:
        """Images as floats in the likelihood's range, which the model reads and aims at."""
        return self.likelihood.scale(pixels(images))

    def apply(
        self,
        variables: Variables,
        inputs: Array,
        labels: Array | None = None,
        *,
        method: str = "__call__",
    ) -> Any:
        """A method of the model on codes or scaled images; returns floats as float32 or wider."""
        return apply(self.model, variables, inputs, *condition(self.model, labels), method=method)


_COMPILED = {
    name: jax.jit(getattr(Network, name), static_argnums=0)
    for name in ("encode", "decode", "reconstruct")
}


@dataclass(frozen=True)
class Trained:
    """A network and its trained variables.

    Large inputs are processed in chunks to bound memory, and results are NumPy arrays. Inside
    `jax.jit`, where inputs are traced, results are traced arrays too.
    """

    network: Network
    variables: Variables  # what `Network.encode` and `model.apply` take
    standardized: bool = False  # whether it was trained on floats around 0, not in [0, 1]

    @property
    def classes(self) -> int | None:
        """The number of classes that a conditional network knows; None for any other network."""
        return self.network.classes

    def __repr__(self) -> str:
        model, likelihood = type(self.network.model).__name__, name_of(self.network.likelihood)
        count = count_parameters(self.variables)
        return f"Trained({model}, {count:,} parameters, likelihood {likelihood or 'of your own'})"

    def reconstruct(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Reconstructions in [0, 1] of images [N, H, W, C], uint8 or floats as trained on."""
        return self._apply("reconstruct", images, labels)

    def encode(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """The codes of images [N, H, W, C], uint8 or floats as trained on."""
        return self._apply("encode", images, labels)

    def decode(self, z: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """The images [N, H, W, C] in [0, 1] that codes stand for."""
        return self._apply("decode", z, labels)

    def _apply(self, method: str, values: ArrayLike, labels: ArrayLike | None) -> np.ndarray:
        if isinstance(values, Tracer):
            return getattr(self.network, method)(self.variables, values, labels)
        name = "codes" if method == "decode" else "images"
        values = np.asarray(canonicalize_array(name, values))
        labels = self._checked_labels(labels, len(values) if values.ndim else 0)
        # Dark bytes are no mistake, nor bright floats: a few images are not a whole set.
        if name == "images" and values.size and values.dtype != np.uint8:
            check_floats(name, values, standardized=self.standardized)

        def apply(values: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
            return np.asarray(_COMPILED[method](self.network, self.variables, values, labels))

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


def apply(model: nn.Module, variables: Variables, *inputs: Array, method: str = "__call__") -> Any:
    """A method of a Linen module on arrays; returns floats as float32 or wider."""
    return jax.tree.map(_widen, model.apply(variables, *inputs, method=method))


def _widen(leaf: Array) -> Array:
    """A float of fewer bits as float32; anything else as it is."""
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) if floating else leaf


def condition(model: nn.Module, labels: Array | None) -> tuple[Array, ...]:
    """What a model's methods take after images or codes: labels if it has classes, or nothing."""
    if getattr(model, "classes", None) is None:
        return ()
    return (check_labels(labels),)
