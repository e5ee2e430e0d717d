"""A model and its likelihood as pure functions, and a trained network that is ready for use."""

import inspect
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
from jaxtyping import Float, Integer, Key, UInt8

from jaxae.data import Scaling
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

_Images = UInt8[Array, "batch *shape"] | Float[Array, "batch *shape"]


@dataclass(frozen=True)
class Network:
    """A model and the likelihood that turns its logits into images and into a loss.

    The methods are pure functions of variables and arrays, so they can be jitted, differentiated
    and mapped. Images are uint8 or floats, which `train.pixels` scales, and dense models take
    vectors [B, D] like images. Decoded images are in [0, 1] if the likelihood is bounded. Only
    conditional models read labels.
    """

    model: nn.Module
    likelihood: Likelihood

    @property
    def classes(self) -> int | None:
        """The number of classes of a conditional model; None for any other model."""
        return getattr(self.model, "classes", None)

    @property
    def has_posterior(self) -> bool:
        """Whether the model's codes are drawn from a posterior."""
        return isinstance(self.model, HasPosterior)

    @property
    def bottleneck(self) -> Callable[[Array], Array] | None:
        """The bottleneck of an `Autoencoder`; None for a model of another class."""
        return self.model.bottleneck if isinstance(self.model, Autoencoder) else None

    @property
    def quantizer(self) -> Quantizer | None:
        """The bottleneck if it quantizes codes, else None."""
        return self.bottleneck if isinstance(self.bottleneck, Quantizer) else None

    def encode(
        self,
        variables: Variables,
        images: _Images,
        labels: Integer[Array, " batch"] | None = None,
    ) -> Float[Array, "batch *code"]:
        """Returns the codes of images, or the means of their posteriors."""
        return self.apply(variables, self.scale(images), labels, method="encode")

    def decode(
        self,
        variables: Variables,
        z: Float[Array, "batch *code"],
        labels: Integer[Array, " batch"] | None = None,
    ) -> Float[Array, "batch *shape"]:
        """Decodes codes to images."""
        return self.likelihood.image(self.apply(variables, z, labels, method="decode"))

    def reconstruct(
        self,
        variables: Variables,
        images: _Images,
        labels: Integer[Array, " batch"] | None = None,
    ) -> Float[Array, "batch *shape"]:
        """Reconstructs images, through codes or posterior means."""
        return self.likelihood.image(self.apply(variables, self.scale(images), labels))

    def posterior(
        self,
        variables: Variables,
        images: _Images,
        labels: Integer[Array, " batch"] | None = None,
    ) -> Gaussian:
        """Returns q(z | x) of images, or q(z | x, y) of images and their labels."""
        return self.apply(variables, self.scale(images), labels, method="posterior")

    def distortion(
        self, variables: Variables, z: Float[Array, "batch *code"], batch: Batch
    ) -> Float[Array, " batch"]:
        """Returns the loss of each image of a batch, given codes to decode."""
        logits = self.apply(variables, z, batch.labels, method="decode")
        return self.likelihood.loss(logits, self.scale(batch.images))

    def distortions(
        self, variables: Variables, codes: Float[Array, "samples batch *code"], batch: Batch
    ) -> Float[Array, "samples batch"]:
        """Returns the losses of a batch's images, given several codes for each image."""
        samples = len(codes)
        labels = None if batch.labels is None else jnp.tile(batch.labels, samples)
        # One call for all samples: a vmapped decoder's gradient takes a third longer on a CPU.
        logits = self.apply(variables, codes.reshape(-1, *codes.shape[2:]), labels, method="decode")
        logits = logits.reshape(samples, -1, *logits.shape[1:])
        return jax.vmap(self.likelihood.loss, (0, None))(logits, self.scale(batch.images))

    def scale(self, images: _Images) -> Float[Array, "batch *shape"]:
        """Scales images to floats in the likelihood's range, the model's input and target."""
        return self.likelihood.scale(pixels(images))

    def apply(
        self,
        variables: Variables,
        inputs: Float[Array, "batch *shape"],
        labels: Integer[Array, " batch"] | None = None,
        *,
        method: str = "__call__",
    ) -> Any:
        """Applies a method of the model to codes or scaled images, as the function `apply` does."""
        extra = label_arguments(self.model, labels)
        return apply(self.model, variables, inputs, *extra, method=method)


_COMPILED = {
    name: jax.jit(getattr(Network, name), static_argnums=0)
    for name in ("encode", "decode", "reconstruct")
}


@dataclass(frozen=True)
class Trained:
    """A network and its trained variables.

    Images are those of the data: [N, H, W, C], uint8 or floats, or vectors [N, D]. With a `scaling`
    they are scaled before the network reads them, and what it decodes is scaled back. Without one,
    decoded images are in [0, 1] if the likelihood is bounded.

    Large inputs are processed in chunks to bound memory, and results are NumPy arrays. Inside
    `jax.jit`, where inputs are traced, results are traced arrays too. The methods raise `UserError`
    for images, codes or labels that do not fit the network.
    """

    network: Network
    variables: Variables  # for `Network.encode` and `model.apply`
    standardized: bool = False  # whether it was trained on floats around 0 instead of [0, 1]
    scaling: Scaling | None = None  # of the data's numbers to those that it was trained on

    @property
    def classes(self) -> int | None:
        """The number of classes of a conditional network; None for any other network."""
        return self.network.classes

    def __repr__(self) -> str:
        model, likelihood = type(self.network.model).__name__, name_of(self.network.likelihood)
        count = count_parameters(self.variables)
        return f"Trained({model}, {count:,} parameters, likelihood {likelihood or 'of your own'})"

    def reconstruct(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Reconstructs images."""
        return self._apply("reconstruct", images, labels)

    def encode(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Returns the codes of images, or the means of their posteriors."""
        return self._apply("encode", images, labels)

    def decode(self, z: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Decodes codes to images."""
        return self._apply("decode", z, labels)

    def _apply(self, method: str, values: ArrayLike, labels: ArrayLike | None) -> np.ndarray:
        name = "codes" if method == "decode" else "images"
        values = as_array(name, values)
        if name == "images":
            values = self._scaled(values)
        if any(isinstance(leaf, Tracer) for leaf in (values, *jax.tree.leaves(self.variables))):
            labels = None if labels is None else as_array("labels", labels)
            result = getattr(self.network, method)(self.variables, jnp.asarray(values), labels)
            return self._unscaled(method, result)
        values = np.asarray(canonicalize_array(name, values))
        labels = self._checked_labels(labels, len(values) if values.ndim else 0)
        # Unlike a whole set, a few images may all be dark or, if standardized, all bright.
        if name == "images" and values.size and values.dtype != np.uint8:
            bounded = self.network.likelihood.bounded and self.scaling is None
            check_floats(name, values, standardized=self.standardized or not bounded)

        def apply(values: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
            result = _COMPILED[method](self.network, self.variables, values, labels)
            return self._unscaled(method, np.asarray(result))

        try:
            return apply_in_parts(apply, values, *(() if labels is None else (labels,)))
        except (ScopeParamShapeError, TypeError, IndexError) as error:
            raise _of_other_shapes(name, values.shape) from error

    def _scaled(self, values: Array | np.ndarray) -> Array | np.ndarray:
        """Scales the data's numbers, whole ones too, to those that the network was trained on."""
        if self.scaling is None:
            return values
        if not values.ndim or len(self.scaling.offset) not in (1, values.shape[-1]):
            raise _of_other_shapes("images", values.shape)
        if jnp.issubdtype(values.dtype, jnp.integer):
            values = values.astype(np.float32)
        return self.scaling.apply(canonicalize_array("images", values))

    def _unscaled(self, method: str, result: Any) -> Any:
        """Scales what a method decoded back to the data's numbers; returns codes as they are."""
        return result if self.scaling is None or method == "encode" else self.scaling.undo(result)

    def _checked_labels(self, labels: ArrayLike | None, count: int) -> np.ndarray | None:
        """Returns the labels as int32 [count], or None if the network reads none."""
        if self.classes is None:
            return None
        if labels is None:
            raise UserError(
                f"a network of {self.classes} classes was given no labels: give one label for each "
                "example"
            )
        labels = np.asarray(as_array("labels", labels))
        known = np.issubdtype(labels.dtype, np.integer) and labels.shape == (count,)
        if not known or (count and not 0 <= labels.min() <= labels.max() < self.classes):
            raise UserError(
                f"labels {labels.dtype} of shape {labels.shape} were given for {count} "
                f"examples: give integers [{count}] from 0 to {self.classes - 1}"
            )
        return labels.astype(np.int32)


def _of_other_shapes(name: str, shape: tuple[int, ...]) -> UserError:
    """Returns the error for images or codes whose shape is not the network's."""
    fitting = {
        "codes": "codes of the shape that encode returns",
        "images": "images [N, H, W, C] of the size, or vectors [N, D] of the length, that it was "
        "trained on",
    }[name]
    return UserError(
        f"{name} of shape {shape} were given to a network of other shapes: give {fitting}"
    )


def apply(model: nn.Module, variables: Variables, *inputs: Array, method: str = "__call__") -> Any:
    """Applies a method of a Linen module to arrays, not as in training.

    Returns floats as float32 or wider.
    """
    options = evaluation_arguments(model, method)
    return jax.tree.map(_widen, model.apply(variables, *inputs, method=method, **options))


def init_variables(model: nn.Module, key: Key[Array, ""], shape: tuple[int, ...]) -> Variables:
    """Returns the initial variables of a module, for images or vectors of a shape without batch."""
    labels = label_arguments(model, jnp.zeros(1, jnp.int32))
    return model.init(key, jnp.zeros((1, *shape)), *labels, **evaluation_arguments(model))


def evaluation_arguments(model: nn.Module, method: str = "__call__") -> dict[str, Any]:
    """Returns {"train": False} if a module's method takes `train`, as by Flax's convention."""
    taken = inspect.signature(getattr(model, method)).parameters
    return {"train": False} if "train" in taken else {}


def _widen(leaf: Array) -> Array:
    """Widens a narrower float to float32; returns anything else unchanged."""
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    wide = jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32
    return leaf.astype(wide) if floating else leaf


def label_arguments(
    model: nn.Module, labels: Integer[Array, " batch"] | None
) -> tuple[Integer[Array, " batch"], ...]:
    """Returns the extra arguments of a model's methods: labels if it has classes, else none.

    Raises `UserError` if a model with classes is given no labels.
    """
    if getattr(model, "classes", None) is None:
        return ()
    return (check_labels(labels),)
