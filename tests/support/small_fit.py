"""Small arrays, and a network and an objective of one's own, for tests of `jaxae.fit`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from jaxae import train
from jaxae.train import pixels

_DIGITS: Any = load_digits()
DIGITS = _DIGITS.images[:120]  # floats from 0 to 16, [N, 8, 8]
LABELS = _DIGITS.target[:120]
OPTIONS = {"latent": 3, "hidden": (16,), "epochs": 2, "batch_size": 32}  # of a member
SCALED = (DIGITS / 16).astype(np.float32)[..., None]  # as fit scales them


class Normalized(nn.Module):
    """An autoencoder with batch normalization and dropout."""

    latent: int = 3

    def setup(self) -> None:
        self.hidden, self.normalize = nn.Dense(16), nn.BatchNorm(momentum=0.9)
        self.code, self.drop, self.out = nn.Dense(self.latent), nn.Dropout(0.1), nn.Dense(64)

    def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
        hidden = self.normalize(self.hidden(x.reshape(len(x), -1)), use_running_average=not train)
        return self.code(self.drop(nn.relu(hidden), deterministic=not train))

    def decode(self, z: jax.Array) -> jax.Array:
        return self.out(z).reshape(-1, 8, 8, 1)

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return self.decode(self.encode(x, train))


def squared_error(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
    """Returns the squared error of each image, and new statistics of the batches."""
    x = pixels(batch.images)
    logits, updated = Normalized().apply(
        variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
    )
    error = jnp.square(jax.nn.sigmoid(jnp.asarray(logits)) - x).sum((1, 2, 3))
    return train.Terms(error, {}, updated)


OWN: dict[str, Any] = {"model": Normalized(), "likelihood": "gaussian_sigmoid"}
