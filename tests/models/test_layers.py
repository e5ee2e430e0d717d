"""Layers against plain NumPy: the semantics of PyTorch and Keras, and their initial values."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from jaxae.models import ConvLayer, PoolLayer, lecun, logistic, stacks
from jaxae.models.autoencoders import identity
from jaxae.models.layers import Initialization, dense, keras, pytorch

IMAGES = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype(np.float32)


class Convolution(nn.Module):
    """A convolutional layer as a module, so that it has parameters."""

    layer: ConvLayer
    initialization: Initialization = keras

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return stacks.convolve(x, [(self.layer, identity)], self.initialization)


class Dense(nn.Module):
    """A dense layer as a module."""

    features: int
    initialization: Initialization = keras

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return dense(x, self.features, self.initialization)


def output_kernel_bias(module: nn.Module, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns a one-layer module's output for x, and the random kernel and bias that it used."""
    random = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda leaf: random.normal(size=leaf.shape).astype(np.float32) / 10,
        jax.eval_shape(module.init, jax.random.key(0), x),
    )
    (parameters,) = variables["params"].values()
    output = module.apply(variables, jnp.asarray(x))
    return np.asarray(output), parameters["kernel"], parameters["bias"]


every_computation = pytest.mark.parametrize("compute", [stacks.by_convolutions, stacks.by_products])


def random_layer(layer: ConvLayer) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel and a bias for a layer on IMAGES."""
    random = np.random.default_rng(1)
    shape = (layer.kernel_size, layer.kernel_size, IMAGES.shape[-1], layer.features)
    return (
        random.normal(size=shape).astype(np.float32) / 10,
        random.normal(size=layer.features).astype(np.float32),
    )


def output_of(compute: Callable, layer: ConvLayer, kernel: np.ndarray, bias: np.ndarray) -> Array:
    """Returns the output of a layer without an activation on IMAGES."""
    parameters = [(jnp.asarray(kernel), jnp.asarray(bias))]
    return compute(jnp.asarray(IMAGES), parameters, layers=[(layer, identity)])


def test_dense_is_affine() -> None:
    x = IMAGES.reshape(2, -1)
    output, kernel, bias = output_kernel_bias(Dense(5), x)
    assert kernel.shape == (9 * 7 * 3, 5)
    np.testing.assert_allclose(output, x @ kernel + bias, atol=1e-5)


# Convolutions.


def slow_convolution(
    x: np.ndarray, kernel: np.ndarray, stride: int, around: list[tuple[int, int]]
) -> np.ndarray:
    """Computes each output pixel as the product of the kernel and the window that starts there."""
    size = kernel.shape[0]
    padded = np.pad(x, ((0, 0), *around, (0, 0)))
    rows = range(0, padded.shape[1] - size + 1, stride)
    columns = range(0, padded.shape[2] - size + 1, stride)
    windows = np.array([[padded[:, i : i + size, j : j + size] for j in columns] for i in rows])
    return np.einsum("ijbuvc,uvcf->bijf", windows, kernel)


def same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Applies TensorFlow's rule: ceil(length / stride) outputs, an odd pixel pads the end."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


@pytest.mark.slow
@every_computation
@pytest.mark.parametrize("padding", ["SAME", "VALID", 0, 1])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (3, 3), (2, 1)])
def test_convolution(compute: Callable, size: int, stride: int, padding) -> None:
    layer = ConvLayer(4, size, stride, padding)
    kernel, bias = random_layer(layer)
    output = output_of(compute, layer, kernel, bias)
    if padding == "SAME":
        around = [same_padding(length, size, stride) for length in IMAGES.shape[1:3]]
    else:
        pixels = 0 if padding == "VALID" else padding
        around = [(pixels, pixels)] * 2
    expected = slow_convolution(IMAGES, kernel, stride, around) + bias
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, atol=1e-5)


def slow_transposed_convolution(
    x: np.ndarray, kernel: np.ndarray, stride: int, padding: int
) -> np.ndarray:
    """Adds the kernel to the output for each input pixel; crops the border, as PyTorch does."""
    batch, height, width, _ = x.shape
    size, features = kernel.shape[0], kernel.shape[-1]
    full = ((height - 1) * stride + size, (width - 1) * stride + size)
    output = np.zeros((batch, *full, features))
    for i in range(height):
        for j in range(width):
            rows, columns = (slice(n * stride, n * stride + size) for n in (i, j))
            output[:, rows, columns] += np.einsum("bc,uvcf->buvf", x[:, i, j], kernel)
    return output[:, padding : full[0] - padding, padding : full[1] - padding]


@pytest.mark.slow
@every_computation
@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(3, 2, 0), (5, 3, 1), (2, 2, 1), (3, 1, 1), (2, 3, 0), (3, 2, 2)],
)
def test_transposed_convolution_with_padding_in_pixels(
    compute: Callable, size: int, stride: int, padding: int
) -> None:
    layer = ConvLayer(4, size, stride, padding, transpose=True)
    kernel, bias = random_layer(layer)
    output = output_of(compute, layer, kernel, bias)
    # Flax correlates its kernel with the dilated input, so each pixel adds that kernel rotated by
    # 180 degrees; the two kernels hold the same parameters in another order.
    expected = slow_transposed_convolution(IMAGES, kernel[::-1, ::-1], stride, padding) + bias
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, atol=1e-5)


@every_computation
@pytest.mark.parametrize("missing", [0, 1])  # rows and columns, of those that it would double
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (4, 2), (5, 3)])
def test_transposed_convolution_same_is_the_gradient_of_a_strided_one(
    compute: Callable, size: int, stride: int, missing: int
) -> None:
    missing = missing if stride > 1 else 0
    sides = (9 * stride - missing, 7 * stride - missing)
    layer = ConvLayer(4, size, stride, "SAME", transpose=True, size=sides if missing else None)
    kernel, bias = random_layer(layer)
    output = output_of(compute, layer, kernel, bias)
    # This is Keras's definition. The convolution from [B, sH, sW, 4] to [B, H, W, 3] reads what the
    # transposed one writes, so its channels are swapped. Its gradient scatters with the kernel that
    # it correlates with, so the kernel is rotated by 180 degrees (see above).
    forward_kernel = jnp.asarray(kernel[::-1, ::-1].swapaxes(2, 3))

    def strided(images: Array) -> Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        strides = (stride, stride)
        return lax.conv_general_dilated(
            images, forward_kernel, strides, "SAME", dimension_numbers=numbers
        )

    _, gradient = jax.vjp(jax.jit(strided), jnp.zeros((2, *sides, 4)))
    (expected,) = gradient(jnp.asarray(IMAGES))
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, np.asarray(expected) + bias, atol=1e-5)


# Pooling and upsampling.


def slow_max_pool(x: np.ndarray, pool: PoolLayer) -> np.ndarray:
    """Returns the maximum of each window, over its part that lies inside the image."""
    size, stride = pool.window, pool.stride
    around = [(0, 0), (0, 0)]
    if pool.padding == "SAME":
        around = [same_padding(length, size, stride) for length in x.shape[1:3]]
    padded = np.pad(x, ((0, 0), *around, (0, 0)), constant_values=-np.inf)
    rows = range(0, padded.shape[1] - size + 1, stride)
    columns = range(0, padded.shape[2] - size + 1, stride)
    windows = np.array([[padded[:, i : i + size, j : j + size] for j in columns] for i in rows])
    return windows.max(axis=(3, 4)).transpose(2, 0, 1, 3)


def resampled(compute: Callable, images: np.ndarray, layer: ConvLayer) -> Array:
    """Returns a layer's pool or upsampling of images; its convolution is the identity."""
    parameters = [(jnp.eye(3)[None, None], jnp.zeros(3))]
    return compute(jnp.asarray(images), parameters, layers=[(layer, identity)])


@every_computation
@pytest.mark.parametrize("images", [IMAGES, IMAGES[:, :8, :6], -np.abs(IMAGES)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("window", "stride"), [(2, 2), (2, 1), (3, 2)])
def test_max_pool(compute: Callable, images: np.ndarray, window: int, stride: int, padding) -> None:
    pool = PoolLayer(window, stride, padding)
    output = resampled(compute, images, ConvLayer(3, kernel_size=1, pool=pool))
    np.testing.assert_array_equal(output, slow_max_pool(images, pool))


@every_computation
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_upsampling_repeats_each_pixel(compute: Callable, factor: int) -> None:
    output = resampled(compute, IMAGES, ConvLayer(3, kernel_size=1, upsample=factor))
    block = np.ones((1, factor, factor, 1), np.float32)
    np.testing.assert_array_equal(output, np.kron(IMAGES, block))


# Initial values: a layer with many parameters, and the bounds that its framework documents.

FAN_INS = {  # layers on 40 channels: module and fan-in; PyTorch counts differently, see below
    "dense": (lambda how: Dense(300, how), 40),
    "convolution": (lambda how: Convolution(ConvLayer(60, 3), how), 40 * 9),
    "transposed": (lambda how: Convolution(ConvLayer(60, 3, transpose=True), how), 40 * 9),
}


def initial_values(make: Callable, how: Initialization) -> tuple[np.ndarray, np.ndarray]:
    """Returns the initial kernel and bias of a layer on 40 channels."""
    key = jax.random.key(0, impl="rbg")  # compiles several times faster than the default
    variables = jax.jit(make(how).init)(key, jnp.zeros((1, 3, 3, 40)))
    (parameters,) = variables["params"].values()
    return np.asarray(parameters["kernel"]), np.asarray(parameters["bias"])


def assert_uniform(values: np.ndarray, bound: float) -> None:
    """Checks by extremes, mean and standard deviation that values fill [-bound, bound] evenly."""
    slack = 30 * bound / values.size  # an extreme misses it with probability exp(-15)
    assert bound - slack < values.max() <= bound
    assert -bound <= values.min() < -bound + slack
    error = 5 / values.size**0.5
    assert abs(values.mean()) < error * bound
    np.testing.assert_allclose(values.std(), bound / 3**0.5, rtol=error)


@pytest.mark.parametrize(("how", "times"), [(keras, 1), (logistic, 4)])
@pytest.mark.parametrize("kind", FAN_INS)
def test_glorot_uniform_with_zero_bias(kind: str, how: Initialization, times: int) -> None:
    make, fan_in = FAN_INS[kind]
    kernel, bias = initial_values(make, how)
    fan_out = fan_in // 40 * kernel.shape[-1]
    assert_uniform(kernel, times * (6 / (fan_in + fan_out)) ** 0.5)
    np.testing.assert_array_equal(bias, 0)


@pytest.mark.parametrize("kind", FAN_INS)
def test_pytorch_is_uniform_by_fan_in(kind: str) -> None:
    make, fan_in = FAN_INS[kind]
    if kind == "transposed":
        fan_in = 60 * 9  # PyTorch reads it from the weight's second axis, here the outputs
    kernel, bias = initial_values(make, pytorch)
    assert_uniform(kernel, fan_in**-0.5)
    assert_uniform(bias, fan_in**-0.5)


@pytest.mark.parametrize("kind", FAN_INS)
def test_lecun_is_a_truncated_normal_by_fan_in_with_zero_bias(kind: str) -> None:
    make, fan_in = FAN_INS[kind]
    kernel, bias = initial_values(make, lecun)
    error = 5 / kernel.size**0.5
    assert abs(kernel.mean()) < error * fan_in**-0.5
    np.testing.assert_allclose(kernel.std(), fan_in**-0.5, rtol=error)
    # Truncated at two standard deviations, a normal keeps 0.8796 of its standard deviation.
    assert 0.95 < np.abs(kernel).max() * fan_in**0.5 * 0.8796 / 2 <= 1 + 1e-4
    np.testing.assert_array_equal(bias, 0)
