"""Priors to sample new codes from: a standard normal, or a distribution fitted to images' codes.

A `Sampler` takes a typed PRNG key and a count, and returns codes float32 [count, *shape]; equal
keys give equal codes. Codes to fit are floats [N, *shape], vectors or feature maps. Fitting raises
`UserError` if codes are too few or not finite.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float, Int, Key, Real

from jaxae.errors import UserError
from jaxae.models import TopK
from jaxae.network import Trained

Sampler = Callable[[Array, int], np.ndarray]

Prior = Literal["normal", "mixture", "flow", "resample"]

DESCRIPTIONS: dict[Prior, str] = {
    "normal": "codes drawn from a standard normal",
    "mixture": "codes drawn from a Gaussian mixture fitted to those of training images",
    "flow": "codes drawn from a flow fitted to those of training images",
    "resample": "codes of which each part is drawn from those of training images at its place",
}


def of_network(
    trained: Trained,
    images: Real[np.ndarray, "N *shape"],
    labels: Int[np.ndarray, " N"] | None,
    prior: Prior,
    *,
    seed: int = 0,
) -> Sampler:
    """Fits a prior to a network's codes of images; only conditional networks read the labels.

    Raises `UserError` as `fit` does.
    """
    count = 1 if prior == "normal" else None
    codes = trained.encode(images[:count], None if labels is None else labels[:count])
    return fit(trained, codes, prior, seed=seed)


def fit(
    trained: Trained, codes: Float[ArrayLike, "N *shape"], prior: Prior, *, seed: int = 0
) -> Sampler:
    """Fits the named prior to a network's codes; the normal prior only needs their shape.

    Raises `UserError` if codes are too few or too similar to fit, and if `prior` is "resample" but
    the network does not quantize its codes.
    """
    quantizer = trained.network.quantizer
    group_size = None if quantizer is None else quantizer.group_size
    sample = _fit_by_name(codes, prior, group_size, seed)
    bottleneck = trained.network.bottleneck
    if not isinstance(bottleneck, TopK):
        return sample
    # The decoder was trained on codes that keep only their k largest numbers.
    return lambda key, count: np.asarray(bottleneck(jnp.asarray(sample(key, count))))


def _fit_by_name(codes: ArrayLike, prior: Prior, group_size: int | None, seed: int) -> Sampler:
    """Fits the named prior; `group_size` numbers of a code are quantized together, None if none."""
    if prior == "normal":
        return normal(np.shape(codes)[1:])
    if prior == "mixture":
        return fit_mixture(codes, seed=seed)
    if prior == "flow":
        return fit_flow(jax.random.key(seed), codes)
    if group_size is None:
        raise UserError(
            "the prior resample was given for a network that does not quantize its codes: give a "
            "network that does, or choose the prior normal, mixture or flow"
        )
    return resample(codes, group_size)


def normal(shape: tuple[int, ...]) -> Sampler:
    """Returns a sampler of standard normal codes; the shape is that of one code."""

    def sample(key: Array, count: int) -> np.ndarray:
        return np.asarray(jax.random.normal(key, (count, *shape), jnp.float32))

    return sample


def fit_mixture(
    codes: Float[ArrayLike, "N *shape"], components: int = 10, seed: int = 0
) -> Sampler:
    """Fits a mixture of Gaussians with full covariances (Ghosh et al. 2020, section 4).

    scikit-learn fits it to standardized codes by expectation maximization, from an initialization
    that the seed determines, and adds a millionth of each number's variance to the covariances.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    numbers, restore = _standardize(codes)
    distinct = len(np.unique(numbers, axis=0))
    if not 1 <= components <= distinct:
        raise UserError(
            f"a mixture of {components} components was to be fitted to {distinct} distinct codes: "
            "give 1 component or more, and no more components than codes"
        )
    mixture = GaussianMixture(components, random_state=seed, max_iter=200, reg_covar=1e-6)
    # One thread sums in one order; several threads wait for each other on a busy machine.
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
    key: Key[Array, ""],
    codes: Float[ArrayLike, "N *shape"],
    *,
    layers: int = 5,
    width: int | None = None,
    learning_rate: float = 1e-3,
    epochs: int = 100,
    patience: int = 5,
    batch_size: int = 256,
) -> Sampler:
    """Fits flowjax's masked autoregressive flow (Papamakarios et al. 2017) to standardized codes.

    Args:
      key: determines the initial parameters and the order of the codes.
      codes: the codes to fit, a tenth of which are held out for early stopping.
      layers: number of affine autoregressive transformations.
      width: hidden units per layer; None means twice the numbers in a code, between 64 and 512.
      learning_rate: Adam's learning rate.
      epochs: the maximum number of epochs; the best epoch is kept.
      patience: epochs without improvement before training stops.
      batch_size: codes per step.
    """
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data

    numbers, restore = _standardize(codes)
    if len(numbers) < 10:
        raise UserError(f"a flow was to be fitted to {len(numbers)} codes: give 10 or more")
    size = numbers.shape[1]
    model_key, fit_key = jax.random.split(key)
    with _promotions_of_flowjax():
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
        with _promotions_of_flowjax():
            return restore(np.asarray(draw(key, count)))

    return sample


@contextlib.contextmanager
def _promotions_of_flowjax() -> Iterator[None]:
    """Allows JAX's promotions of rank and dtype, which flowjax and its optimizer rely on."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def resample(codes: Float[ArrayLike, "N *shape"], dimension: int) -> Sampler:
    """Returns a sampler that draws each part of a code from the given codes' parts at its place.

    A part is `dimension` consecutive numbers of the last axis, such as a vector of a codebook.
    Parts are drawn independently. Raises `UserError` unless `dimension` divides the last axis.
    """
    numbers = _checked_codes(codes)
    channels = numbers.shape[-1]
    if dimension < 1 or channels % dimension:
        raise UserError(
            f"codes whose last axis has {channels} numbers were to be split into parts of "
            f"{dimension}: give a divisor of {channels}"
        )
    parts = numbers.reshape(len(numbers), -1, dimension)  # [N, places, dimension]
    places = parts.shape[1]

    def sample(key: Array, count: int) -> np.ndarray:
        chosen = _numpy_generator(key).integers(len(parts), size=(count, places))
        return parts[chosen, np.arange(places)].reshape(count, *numbers.shape[1:])

    return sample


def _standardize(codes: ArrayLike) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Standardizes codes to float64 [N, D], and returns the inverse, to float32 [N, *shape].

    D excludes numbers that are the same in all codes, such as those of a dead unit.
    """
    checked = _checked_codes(codes)
    flat = checked.reshape(len(checked), -1).astype(np.float64)
    varies = np.ptp(flat, axis=0) > 0
    if not varies.any():
        raise UserError(
            f"{len(flat)} codes that are all the same were given: nothing can be fitted to them; "
            "give codes of several images, from a network that tells the images apart"
        )
    mean, deviation = flat.mean(axis=0), flat.std(axis=0)[varies]

    def restore(numbers: np.ndarray) -> np.ndarray:
        restored = np.tile(mean, (len(numbers), 1))
        restored[:, varies] += deviation * numbers
        return restored.reshape(-1, *checked.shape[1:]).astype(np.float32)

    return (flat - mean)[:, varies] / deviation, restore


def _checked_codes(codes: ArrayLike) -> np.ndarray:
    """Returns codes as float32 [N, *shape]; they must be finite."""
    checked = np.asarray(codes, np.float32)
    if checked.ndim < 2 or not checked.size:
        raise UserError(
            f"codes of shape {checked.shape} were given: give vectors [N, latent] or feature maps "
            "[N, height, width, channels], N at least 1"
        )
    if not np.isfinite(checked).all():
        raise UserError(
            "codes with NaN or infinity were given: if a network made them, its training diverged; "
            "try a smaller learning rate"
        )
    return checked


def _numpy_generator(key: Array) -> np.random.Generator:
    """Returns a NumPy generator seeded with all bits of a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
