"""Codes sampled from a posterior, and their log weights, log p(x, z) - log q(z | x)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Key

from jaxae.errors import UserError
from jaxae.losses import sum_per_example
from jaxae.models import Gaussian


def codes_at(
    posterior: Gaussian, noise: Float[Array, "batch latent"]
) -> Float[Array, "batch latent"]:
    """The codes that correspond to standard normal noise, mean + standard deviation * noise."""
    return posterior.mean + jnp.exp(posterior.log_variance / 2) * noise


def sampled_kl(posterior: Gaussian, noise: Float[Array, "batch latent"]) -> Float[Array, " batch"]:
    """log q(z | x) - log p(z) in nats, at the codes z that correspond to the noise.

    The prior p is N(0, 1). The mean over the noise is KL(q || p).
    """
    z = codes_at(posterior, noise)
    return 0.5 * sum_per_example(jnp.square(z) - jnp.square(noise) - posterior.log_variance)


def log_weights(
    keys: Key[Array, " samples"],
    posterior: Gaussian,
    distortions: Callable[[Array], Array],
    *,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Float[Array, "samples batch"]:
    """log p(x | z) + kl_weight (log p(z) - log q(z | x)) in nats, at one sample z per key.

    `distortions` maps codes [samples, batch, latent] to -log p(x | z) [samples, batch]. With
    `kl_weight` 1, the mean of the weights is p(x) (Burda et al. 2016, section 3). With JAX's
    default generator, a sample depends only on its own key, not on how many samples are drawn at
    once.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, posterior.mean.shape))(keys)
    codes = jax.vmap(codes_at, (None, 0))(posterior, noise)
    return -distortions(codes) - kl_weight * jax.vmap(sampled_kl, (None, 0))(posterior, noise)


def log_mean_exp(values: Float[Array, "samples *shape"]) -> Float[Array, "*shape"]:
    """log of the mean of exp(values) over the first axis."""
    return jax.nn.logsumexp(values, axis=0) - jnp.log(values.shape[0])


def check_count(name: str, count: int) -> None:
    """Raises `UserError` unless a count, for example of samples, is 1 or more."""
    if count < 1:
        raise UserError(f"{name} = {count} was given: give 1 or more")


def is_known(*numbers: Float[Array, ""] | float) -> bool:
    """Returns whether all numbers have a value already; one that is traced has none yet."""
    return not any(isinstance(number, Tracer) for number in numbers)


def draw(key: Key[Array, ""], posterior: Gaussian) -> Float[Array, "batch latent"]:
    """Draws a reparameterized sample from each posterior."""
    return codes_at(posterior, jax.random.normal(key, posterior.mean.shape))
