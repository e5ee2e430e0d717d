"""Where new codes come from: a standard normal, or a distribution fitted on the codes of images.

A sampler takes a typed key and a count, and returns codes float32 [count, *shape of a code]; equal
keys give equal codes. Codes to fit on are float [N, *shape]: vectors or feature maps. Where they
hold NaN or infinity, or are too few, UserError is raised.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from jaxae.errors import UserError
from jaxae.models import TopK

if TYPE_CHECKING:
    from jaxae.network import Trained

Sampler = Callable[[Array, int], np.ndarray]

Prior = Literal["normal", "mixture", "flow", "resample"]

DESCRIPTIONS: dict[Prior, str] = {
    "normal": "codes drawn from a standard normal",
    "mixture": "codes drawn from a Gaussian mixture fitted on those of training images",
    "flow": "codes drawn from a flow fitted on those of training images",
    "resample": "codes of which each part is drawn from those of training images at its place",
}


def of_network(
    trained: Trained, images: np.ndarray, labels: np.ndarray, prior: Prior, *, seed: int = 0
) -> Sampler:
    """New codes for a network, from a prior that is fitted on its codes of images.

    Images [N, H, W, C] with labels int [N], which only a conditional network reads. Raises
    UserError as `fit`.
    """
    count = 1 if prior == "normal" else None
    codes = trained.encode(images[:count], labels[:count])
    return fit(trained, codes, prior, seed=seed)


def fit(trained: Trained, codes: ArrayLike, prior: Prior, *, seed: int = 0) -> Sampler:
    """A prior by name for a network, from its codes [N, *shape]; the normal one reads their shape.

    Raises UserError where codes are to be resampled and the network's are not quantized, and where
    they are too few or too much alike to fit anything on.
    """
    quantizer = trained.network.quantizer
    group_size = None if quantizer is None else quantizer.group_size
    sample = fit_by_name(codes, prior, group_size, seed)
    bottleneck = trained.network.bottleneck
    if not isinstance(bottleneck, TopK):
        return sample
    # Of these codes the network only ever decodes the largest numbers.
    return lambda key, count: np.asarray(bottleneck(jnp.asarray(sample(key, count))))


def fit_by_name(codes: ArrayLike, prior: Prior, group_size: int | None, seed: int) -> Sampler:
    """A prior for codes, of which so many numbers are quantized together, or None."""
    if prior == "normal":
        return normal(np.shape(codes)[1:])
    if prior == "mixture":
        return fit_mixture(codes, seed=seed)
    if prior == "flow":
        return fit_flow(jax.random.key(seed), codes)
    if group_size is None:
        raise UserError(
            "codes were to be resampled from those of a network that does not quantize them: give "
            "one that does, or choose the prior normal, mixture or flow"
        )
    return resample(codes, group_size)


def normal(shape: tuple[int, ...]) -> Sampler:
    """Independent standard normal numbers, in codes of a shape."""

    def sample(key: Array, count: int) -> np.ndarray:
        return np.asarray(jax.random.normal(key, (count, *shape), jnp.float32))

    return sample


def fit_mixture(codes: ArrayLike, components: int = 10, seed: int = 0) -> Sampler:
    """A mixture of Gaussians with full covariances (Ghosh et al. 2020, section 4).

    scikit-learn's, fitted by expectation maximization on standardized codes; a millionth of each
    number's variance is added to the covariances. The seed is of its initialization.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    numbers, restore = _standardize(codes)
    distinct = len(np.unique(numbers, axis=0))
    if not 1 <= components <= distinct:
        raise UserError(
            f"a mixture of {components} components was to be fitted on {distinct} distinct codes: "
            "give 1 component or more, and no more of them than codes"
        )
    mixture = GaussianMixture(components, random_state=seed, max_iter=200, reg_covar=1e-6)
    # With one thread, sums have one order; and several wait for each other on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        mixture.fit(numbers)
    weights, means = np.asarray(mixture.weights_), np.asarray(mixture.means_)
    roots = np.linalg.cholesky(np.asarray(mixture.covariances_))  # [components, D, D]

    def sample(key: Array, count: int) -> np.ndarray:
        generator = _numpy_generator(key)
        chosen = generator.choice(components, size=count, p=weights)
        numbers = generator.standard_normal((count, roots.shape[-1]))
        for component, root in enumerate(roots):
            mine = chosen == component
            numbers[mine] = means[component] + numbers[mine] @ root.T
        return restore(numbers)

    return sample


def fit_flow(
    key: Array,
    codes: ArrayLike,
    *,
    layers: int = 5,
    width: int | None = None,
    learning_rate: float = 1e-3,
    epochs: int = 100,
    patience: int = 5,
    batch_size: int = 256,
) -> Sampler:
    """A masked autoregressive flow (Papamakarios et al. 2017), of flowjax, on standardized codes.

    Args:
      key: of its initial parameters and the order of the codes.
      codes: float [N, *shape], a tenth of which says when to stop.
      layers: autoregressive transformations, affine ones.
      width: of the hidden layer in each; None: two for each number of a code, within 64 and 512.
      learning_rate: of Adam.
      epochs: at most; the best is kept.
      patience: epochs without improvement after which training ends.
      batch_size: codes a step.
    """
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    numbers, restore = _standardize(codes)
    if len(numbers) < 10:
        raise UserError(f"a flow was to be fitted on {len(numbers)} codes: give 10 or more")
    size = numbers.shape[1]
    model_key, fit_key = jax.random.split(key)
    with _as_flowjax_is_written():
        untrained = masked_autoregressive_flow(
            model_key,
            base_dist=Normal(jnp.zeros(size)),
            flow_layers=layers,
            nn_width=width or min(max(64, 2 * size), 512),
        )
        flow, _ = fit_to_data(
            fit_key,
            untrained,
            numbers.astype(np.float32),
            learning_rate=learning_rate,
            max_epochs=epochs,
            max_patience=patience,
            batch_size=batch_size,
            show_progress=False,
        )
    draw = jax.jit(lambda key, count: flow.sample(key, (count,)), static_argnums=1)

    def sample(key: Array, count: int) -> np.ndarray:
        with _as_flowjax_is_written():
            return restore(np.asarray(draw(key, count)))

    return sample


@contextlib.contextmanager
def _as_flowjax_is_written() -> Iterator[None]:
    """Within it JAX promotes ranks and dtypes, which flowjax and its optimizer leave to JAX."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def resample(codes: ArrayLike, dimension: int) -> Sampler:
    """New codes whose parts each were seen at their place, for codes of a codebook.

    Each `dimension` numbers along the last axis are a part, and drawn independently of the others
    from those of all codes.
    """
    codes = _checked_codes(codes)
    channels = codes.shape[-1]
    if dimension < 1 or channels % dimension:
        raise UserError(
            f"codes whose last axis has {channels} numbers were to be split into parts of "
            f"{dimension}: give a divisor"
        )
    parts = codes.reshape(len(codes), -1, dimension)  # [N, places, dimension]
    places = parts.shape[1]

    def sample(key: Array, count: int) -> np.ndarray:
        chosen = _numpy_generator(key).integers(len(parts), size=(count, places))
        return parts[chosen, np.arange(places)].reshape(count, *codes.shape[1:])

    return sample


def _standardize(codes: ArrayLike) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Codes as float64 [N, D] of mean 0 and variance 1, and the way back to float32 [N, *shape].

    D leaves out numbers that are the same in all codes, as those of a unit that is dead.
    """
    codes = _checked_codes(codes)
    flat = codes.reshape(len(codes), -1).astype(np.float64)
    varies = np.ptp(flat, axis=0) > 0
    if not varies.any():
        raise UserError(
            f"{len(flat)} codes that are all the same were given: nothing can be fitted on them; "
            "give those of several images, from a network that tells these apart"
        )
    mean, deviation = flat.mean(axis=0), flat.std(axis=0)[varies]

    def restore(numbers: np.ndarray) -> np.ndarray:
        restored = np.tile(mean, (len(numbers), 1))
        restored[:, varies] += deviation * numbers
        return restored.reshape(-1, *codes.shape[1:]).astype(np.float32)

    return (flat - mean)[:, varies] / deviation, restore


def _checked_codes(codes: ArrayLike) -> np.ndarray:
    """Codes as float32 [N, *shape], if they are finite."""
    codes = np.asarray(codes, np.float32)
    if codes.ndim < 2 or not codes.size:
        raise UserError(
            f"codes of shape {codes.shape} were given: they are [N, latent] or feature maps "
            "[N, h, w, C], N at least 1"
        )
    if not np.isfinite(codes).all():
        raise UserError(
            "codes with NaN or infinity were given: if a network made them, its training diverged; "
            "try a smaller learning rate"
        )
    return codes


def _numpy_generator(key: Array) -> np.random.Generator:
    """numpy's generator, seeded with all bits of a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
