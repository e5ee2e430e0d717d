"""Maps of codes: where each code is drawn in the plane, and what lies between the codes."""

import importlib
import importlib.util
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import KDTree

from jaxae import metrics

_CELLS = 128  # a side of the picture of distances
_ROOM = 1.6  # sides of that picture, relative to the extent of the codes


@dataclass(frozen=True)
class Map:
    """Codes in the plane, one point each."""

    name: str
    axes: tuple[str, str]
    points: Float[np.ndarray, "N 2"]
    # Rows by which a code's position is `mean` @ rows.T; None: the plane has no such axes, and a
    # place between points stands for the mean of the codes around it.
    components: Float[np.ndarray, "2 D"] | None = None
    mean: Float[np.ndarray, " D"] | None = None
    # Distances to the nearest training code in the plane, 255 the farthest, the top row first.
    distances: UInt8[np.ndarray, "cells cells"] | None = None
    low: tuple[float, float] = (0.0, 0.0)  # the lower left corner of the distances
    high: tuple[float, float] = (0.0, 0.0)  # their upper right corner


def make_maps(
    codes: Float[np.ndarray, "N D"], train_codes: Float[np.ndarray, "M D"], *, seed: int
) -> tuple[Map, ...]:
    """Returns the maps of codes: their own two numbers or a PCA, and UMAP if it is installed."""
    linear = _linear_map(codes, train_codes)
    neighbors = _neighbor_map(codes, seed) if codes.shape[1] > 2 else None
    return (linear,) if neighbors is None else (linear, neighbors)


def _linear_map(codes: np.ndarray, train_codes: np.ndarray) -> Map:
    """Returns the plane of codes of one or two numbers, else that of their principal components."""
    dimension = codes.shape[1]
    if dimension <= 2:
        components, mean = np.eye(2, dimension), np.zeros(dimension)
        axes = ("the code's first number", "its second" if dimension == 2 else "nothing")
        name = "Codes"
    else:
        pca = metrics.fit_pca(train_codes, min(2, *train_codes.shape))
        components, mean = pca.components, pca.mean
        components = np.pad(components, ((0, 2 - len(components)), (0, 0)))
        axes = ("the first principal component of training codes", "the second")
        name = "PCA"
    points, seen = ((each - mean) @ components.T for each in (codes, train_codes))
    distances, low, high = _measure(points, seen)
    return Map(name, axes, points, components, mean, distances, low, high)


def _measure(
    points: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
    """Returns distances of a grid of places to the nearest seen point, and the grid's corners."""
    both = np.concatenate([points, seen])
    middle = (both.min(axis=0) + both.max(axis=0)) / 2
    half = _ROOM / 2 * max(float(np.ptp(both, axis=0).max()), 1e-6)
    low, high = middle - half, middle + half
    x, y = (np.linspace(low[n], high[n], 2 * _CELLS + 1)[1::2] for n in range(2))  # cells' centers
    places = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2)
    found, _ = KDTree(seen).query(places)
    found = np.asarray(found).reshape(_CELLS, _CELLS)
    scaled = np.rint(found / max(found.max(), 1e-12) * 255).astype(np.uint8)
    return scaled, (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))


def _neighbor_map(codes: np.ndarray, seed: int) -> Map | None:
    """Returns a UMAP of codes (McInnes et al. 2018); None if it is not installed."""
    if importlib.util.find_spec("umap") is None or len(codes) < 4:
        return None
    neighbors = min(15, len(codes) - 1)
    umap: Any = importlib.import_module("umap")
    reducer = umap.UMAP(n_neighbors=neighbors, random_state=seed, n_jobs=1)
    points = np.asarray(reducer.fit_transform(codes), np.float64)
    return Map("UMAP", ("UMAP's first number", "its second"), points)


def typical_distance(codes: Float[np.ndarray, "N D"]) -> float:
    """Returns the median distance of a code to its nearest other; 0 for fewer than two codes."""
    if len(codes) < 2:
        return 0.0
    nearest, _ = KDTree(codes).query(codes, k=2)
    median = float(np.median(np.asarray(nearest)[:, 1]))
    return median if math.isfinite(median) else 0.0
