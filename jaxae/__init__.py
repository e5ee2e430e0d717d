"""Autoencoders in JAX and Flax."""
