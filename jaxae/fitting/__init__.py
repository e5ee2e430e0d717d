"""Trains, loads and judges a run from Python, in one line each."""

from jaxae.fitting.loading import load
from jaxae.fitting.trained_run import TrainedRun
from jaxae.fitting.training import fit

__all__ = ["TrainedRun", "fit", "load"]
