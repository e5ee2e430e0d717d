"""Stacks of convolutional layers: their parameters, and the two ways to compute them."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer
from jax import Array, lax
from jaxtyping import Float

from jaxae import convolutions
from jaxae.convolutions import Window, Windows, transposed_padding, transposed_window, window
from jaxae.models.layers import Activation, ConvLayer, Initialization, PoolLayer

Layers = Sequence[tuple[ConvLayer, Activation]]

Parameters = Sequence[tuple[Array, Array]]
"""A kernel [h, w, C, O] and a bias [O] for each layer."""

NONDECREASING = (nn.relu, nn.relu6, nn.elu, nn.sigmoid, nn.tanh, nn.softplus)
"""Activations that never decrease: a max-pool may be computed before them."""


class _KernelAndBias(nn.Module):
    """The parameters of a convolution, named as Flax's modules name theirs."""

    shape: tuple[int, int, int, int]
    initializers: tuple[Initializer, Initializer]

    @nn.compact
    def __call__(
        self,
    ) -> tuple[Float[Array, "height width channels features"], Float[Array, " features"]]:
        kernel, bias = self.initializers
        return (
            self.param("kernel", kernel, self.shape, jnp.float32),
            self.param("bias", bias, self.shape[-1:], jnp.float32),
        )


def convolve(
    x: Float[Array, "batch height width channels"],
    layers: Layers,
    initialization: Initialization,
    dtype: Dtype | None = None,
) -> Float[Array, "batch new_height new_width features"]:
    """Applies layers and their activations.

    Call it in a compact Linen method. The method's module gets the parameters: Conv_0,
    ConvTranspose_0 and so on, each with a `kernel` [h, w, C, O] and a `bias` [O]. A program that is
    compiled for a CPU computes matrix products; on other platforms it uses XLA's convolutions.
    """
    parameters = declare([layer for layer, _ in layers], x.shape[-1], initialization)
    leaves, structure = jax.tree.flatten((x, parameters))
    x, parameters = jax.tree.unflatten(structure, promote_dtype(*leaves, dtype=dtype))
    return lax.platform_dependent(
        x,
        parameters,
        cpu=partial(_by_tiles, layers=layers),
        default=partial(by_convolutions, layers=layers),
    )


def declare(
    layers: Sequence[ConvLayer], channels: int, initialization: Initialization
) -> Parameters:
    """Returns the parameters of layers that are applied in turn, inside a compact Linen method."""
    parameters, numbers = [], Counter()
    for layer in layers:
        area = layer.kernel_size**2
        # PyTorch counts a transposed kernel's fan-in over its outputs; the other initializations
        # read the kernel's shape.
        fan_in = area * (layer.features if layer.transpose else channels)
        shape = (layer.kernel_size, layer.kernel_size, channels, layer.features)
        kind = "ConvTranspose" if layer.transpose else "Conv"
        name = f"{kind}_{numbers[kind]}"
        parameters.append(_KernelAndBias(shape, initialization(fan_in), name=name)())
        channels = layer.features
        numbers[kind] += 1
    return parameters


def by_convolutions(
    x: Float[Array, "batch height width channels"], parameters: Parameters, *, layers: Layers
) -> Float[Array, "batch new_height new_width features"]:
    """Applies layers and their activations with XLA's convolutions, for GPUs and TPUs."""
    factor = 1  # x still has to be upsampled by this factor
    for (kernel, bias), (layer, activation) in zip(parameters, layers, strict=True):
        x = activation(convolution(x, kernel, layer, factor) + bias[None, None, None])
        if layer.pool is not None:
            size, stride = layer.pool.window, layer.pool.stride
            x = nn.max_pool(x, (size, size), (stride, stride), layer.pool.padding)
        x, factor = defer_upsampling(x, layer)
    return _upsample(x, factor)


def convolution(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    layer: ConvLayer,
    factor: int = 1,
) -> Float[Array, "batch new_height new_width features"]:
    """Convolves the upsampling of x by a factor as the layer says, with XLA's convolution."""
    x = _upsample(x, factor)
    windows, strides = windows_of(layer, x.shape[1:3]), (layer.stride, layer.stride)
    if layer.transpose and layer.stride > 1:
        return lax.conv_transpose(x, kernel, strides, [dilated_padding(w) for w in windows])
    pads = [(w.low, w.high) for w in windows]
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _by_tiles(x: Array, parameters: Parameters, *, layers: Layers) -> Array:
    """Applies `by_products` to tiles of the batch that fit in a CPU's cache."""
    if not layers:
        return x
    size = tile_size(x.shape, parameters, [layer for layer, _ in layers])
    return convolutions.map_tiles(partial(by_products, layers=layers), x, parameters, size)


def tile_size(shape: Sequence[int], parameters: Parameters, layers: Sequence[ConvLayer]) -> int:
    """Returns how many images [N, H, W, C] a CPU convolves at a time.

    It follows from the largest layer: the pixels that all taps read, or the products by tap if
    those are fewer, and the result.
    """
    sizes, numbers = tuple(shape[1:3]), 1
    for (kernel, _), layer in zip(parameters, layers, strict=True):
        height, width, channels, features = kernel.shape
        windows = windows_of(layer, sizes)
        is_dilated = layer.transpose and layer.stride > 1
        read = features if is_dilated else min(channels, features)
        area = windows[0].outputs * windows[1].outputs
        numbers = max(numbers, area * (height * width * read + features))
        sizes = tuple(w.inputs if is_dilated else w.outputs for w in windows)
        if layer.pool is not None:
            sizes = tuple(w.outputs for w in _pool_windows(layer.pool, windows))
        if layer.upsample > 1:
            sizes = layer.size or (sizes[0] * layer.upsample, sizes[1] * layer.upsample)
    return convolutions.tile_size(numbers * parameters[0][0].dtype.itemsize)


def by_products(
    x: Float[Array, "batch height width channels"], parameters: Parameters, *, layers: Layers
) -> Float[Array, "batch new_height new_width features"]:
    """Applies layers and their activations with matrix products, for CPUs: the batch goes last."""
    x = x.transpose(3, 1, 2, 0)
    factor = 1  # x still has to be upsampled by this factor
    for (kernel, bias), (layer, activation) in zip(parameters, layers, strict=True):
        pool = layer.pool
        pool_first = pool is not None and activation in NONDECREASING
        windows = windows_of(layer, (x.shape[1] * factor, x.shape[2] * factor))
        if pool is not None and pool_first and factor == 1 and _overlap(layer, pool):
            x = convolutions.correlate_and_pool(x, kernel, windows, _pool_windows(pool, windows))
            pool = None
        else:
            x = product(x, kernel, layer, factor)
        if pool is not None and pool_first:
            x, pool = convolutions.max_pool(x, _pool_windows(pool, windows)), None
        x = activation(convolutions.keep(x + bias[:, None, None, None]))
        if pool is not None:
            x = convolutions.max_pool(x, _pool_windows(pool, windows))
        x, factor = defer_upsampling(x, layer)
    return _upsample(x, factor).transpose(3, 1, 2, 0)


def product(
    x: Float[Array, "channels height width batch"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    layer: ConvLayer,
    factor: int = 1,
) -> Float[Array, "features new_height new_width batch"]:
    """Convolves the upsampling of x by a factor as the layer says, with matrix products."""
    if factor > 1 and layer.stride > 1:
        x, factor = _upsample(x, factor), 1
    windows = windows_of(layer, (x.shape[1] * factor, x.shape[2] * factor))
    if layer.transpose and layer.stride > 1:
        return convolutions.correlate_transposed(x, kernel, windows)
    if factor > 1:
        return convolutions.upsample_and_correlate(x, kernel, windows, factor)
    return convolutions.correlate(x, kernel, windows)


def defer_upsampling(
    x: Float[Array, "first height width last"], layer: ConvLayer
) -> tuple[Float[Array, "first new_height new_width last"], int]:
    """Returns x and the factor that the next layer upsamples it by.

    An upsampling that is cropped takes place here, because the next layer pads what is left.
    """
    if layer.upsample == 1 or layer.size is None:
        return x, layer.upsample
    height, width = layer.size
    if (x.shape[1] * layer.upsample, x.shape[2] * layer.upsample) == layer.size:
        return x, layer.upsample
    return _upsample(x, layer.upsample)[:, :height, :width], 1


def _overlap(layer: ConvLayer, pool: PoolLayer) -> bool:
    """Returns whether `correlate_and_pool` gathers fewer pixels than a convolution and a pool."""
    return layer.kernel_size + layer.stride * (pool.window - 1) < layer.kernel_size * pool.stride


def windows_of(layer: ConvLayer, sizes: tuple[int, ...]) -> Windows:
    """Returns a layer's windows over its input, or over its output if it dilates the input."""
    rows, columns = zip(sizes, layer.size or (None, None), strict=True)
    return _window_of(layer, *rows), _window_of(layer, *columns)


def _window_of(layer: ConvLayer, size: int, output: int | None) -> Window:
    """Returns a layer's window along one axis; `output` is the size that the layer returns."""
    if not layer.transpose:
        return window(size, layer.kernel_size, layer.stride, layer.padding)
    if layer.stride == 1:
        return window(size, layer.kernel_size, 1, _padding_of(layer))
    if output is not None:
        return window(output, layer.kernel_size, layer.stride, layer.padding)
    return transposed_window(size, layer.kernel_size, layer.stride, _padding_of(layer))


def dilated_padding(window: Window) -> tuple[int, int]:
    """Returns how far a transposed layer with this window pads its dilated input."""
    low = window.taps - 1 - window.low
    dilated = (window.outputs - 1) * window.stride + 1 if window.outputs else 0
    return low, window.inputs + window.taps - 1 - dilated - low


def _pool_windows(pool: PoolLayer, windows: Windows) -> Windows:
    """Returns the windows of a pool over the outputs of a convolution's windows."""
    rows, columns = windows
    return (
        window(rows.outputs, pool.window, pool.stride, pool.padding),
        window(columns.outputs, pool.window, pool.stride, pool.padding),
    )


def _padding_of(layer: ConvLayer) -> tuple[int, int]:
    """Returns how far a transposed layer pads its dilated input; an int crops, as in PyTorch."""
    if isinstance(layer.padding, int):
        pixels = layer.kernel_size - 1 - layer.padding
        return pixels, pixels
    return transposed_padding(layer.kernel_size, layer.stride, layer.padding)


def _upsample(
    x: Float[Array, "first height width last"], factor: int
) -> Float[Array, "first new_height new_width last"]:
    """Upsamples the two middle axes by nearest neighbors."""
    return x if factor == 1 else jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)
