"""A network of a user's own, with batch normalization and dropout."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxae import train
from jaxae.network import Network


class Normalized(nn.Module):
    """A dense autoencoder whose methods must be told whether they train, as in Flax's guides."""

    shape: tuple[int, ...]
    latent: int = 3

    def setup(self) -> None:
        # A bias before the normalization has a gradient of rounding errors, which Adam scales up.
        self.first, self.last = nn.Dense(8, use_bias=False), nn.Dense(self.latent)
        self.norm, self.dropout = nn.BatchNorm(momentum=0.9), nn.Dropout(0.2)
        self.output = nn.DenseGeneral(self.shape)

    def encode(self, x: jax.Array, train: bool) -> jax.Array:
        h = self.first(x.reshape(x.shape[0], -1))
        h = nn.relu(self.norm(h, use_running_average=not train))
        return self.last(self.dropout(h, deterministic=not train))

    def decode(self, z: jax.Array, train: bool) -> jax.Array:
        return self.output(self.dropout(z, deterministic=not train))

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return self.decode(self.encode(x, train), train)


def objective_of(
    network: Network,
    *,
    mutable: tuple[str, ...] = ("batch_stats",),
    returned: Callable[[train.Variables, train.Variables], train.Variables] = (
        lambda changed, variables: changed
    ),
) -> train.Objective:
    """Returns the objective that trains it; it may return other collections than the changed."""

    def objective(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
        x = network.scale(batch.images)
        applied: Any = network.model.apply(
            variables, x, train=True, mutable=list(mutable) or False, rngs={"dropout": key}
        )
        logits, changed = applied if mutable else (applied, {})
        loss = network.likelihood.loss(logits, x)
        return train.Terms(loss, {"reconstruction": loss}, returned(changed, variables))

    return objective
