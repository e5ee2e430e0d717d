"""Trains a run for each combination of the values given to options of `jaxae train`.

    python experiments/sweep.py --objective vae rae-l2 --latent 2 8 32 --dataset mnist_mini \
--replicas 3 --out results/sweeps/first

Does the same as `jaxae sweep`. With --dry-run it estimates the minutes that these 6 runs take.
"""

from jaxae import sweeps

if __name__ == "__main__":
    sweeps.start()
