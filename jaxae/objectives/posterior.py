"""Codes drawn from a posterior, and the weight of each: log p(x, z) - log q(z | x)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.errors import UserError
from jaxae.losses import sum_per_example
from jaxae.models import Gaussian


def codes_at(posterior: Gaussian, noise: Array) -> Array:
    """The codes [B, latent] that standard normal noise [B, latent] picks from the posterior."""
    return posterior.mean + jnp.exp(posterior.log_variance / 2) * noise


def sampled_kl(posterior: Gaussian, noise: Array) -> Array:
    """log q(z | x) - log p(z) in nats at the codes z that the noise picks, float [B].

    The prior p is N(0, 1). On average over the noise it is KL(q || p).
    """
    z = codes_at(posterior, noise)
    return 0.5 * sum_per_example(jnp.square(z) - jnp.square(noise) - posterior.log_variance)


def log_weights(keys: Array, posterior: Gaussian, distortions: Callable[[Array], Array]) -> Array:
    """log p(x, z) - log q(z | x) in nats at a sample z for each key, float [samples, B].

    `distortions` gives -log p(x | z) [samples, B] of codes [samples, B, latent]. The mean of the
    weights themselves is p(x) (Burda et al. 2016, section 3). Each sample depends on its own key
    alone (with JAX's default generator), not on how many are drawn at once.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, posterior.mean.shape))(keys)
    codes = jax.vmap(codes_at, (None, 0))(posterior, noise)
    return -distortions(codes) - jax.vmap(sampled_kl, (None, 0))(posterior, noise)


def log_mean_exp(values: Array) -> Array:
    """log of the mean of exp(values) over the first axis, [samples, ...] to [...]."""
    return jax.nn.logsumexp(values, axis=0) - jnp.log(values.shape[0])


def check_count(name: str, count: int) -> None:
    """UserError unless a count, of samples say, is 1 or more."""
    if count < 1:
        raise UserError(f"{name} = {count} was given: give 1 or more")


def draw(key: Array, posterior: Gaussian) -> Array:
    """A sample of each posterior, float [B, latent], through which its gradient goes."""
    return codes_at(posterior, jax.random.normal(key, posterior.mean.shape))
