"""The least time a training step can take: its arithmetic over the machine's measured peak."""

import math
import re
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from speed_workloads import Limit


def limit_of(step: Callable, *arguments, images: int) -> Limit:
    """Measures the limit of a pure step (index, state, context) on a batch of `images` bytes."""
    flops = gemm_flops(jax.make_jaxpr(step)(*arguments).jaxpr)
    if jax.default_backend() == "cpu":
        return Limit(flops, _peak_flops(2048))
    _, state, _ = arguments
    compiled = jax.jit(step).lower(*arguments).compile().as_text() or ""
    return Limit(
        flops,
        _peak_flops(8192),
        # Every step must at least read and write the state and read the batch.
        moved_bytes=images + 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
        peak_bytes=_peak_bytes(2**30),
        kernels=kernels(compiled),
    )


def gemm_flops(jaxpr: Jaxpr) -> int:
    """Counts the FLOPs of a program's matrix products and convolutions; loop bodies count once."""
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: JaxprEqn) -> int:
    """Counts the FLOPs of one equation, including those of the programs it calls."""
    name = equation.primitive.name
    if name == "dot_general":
        return _dot_flops(equation)
    if name == "conv_general_dilated":
        return _convolution_flops(equation)
    called = [gemm_flops(jaxpr) for jaxpr in jaxprs_in_params(equation.params)]
    if name == "cond":
        platforms = equation.params.get("branches_platforms")
        # The default branch has the network's own arithmetic, however a platform computes it.
        return max(called) if platforms is None else called[platforms.index(None)]
    return sum(called)


def _dot_flops(equation: JaxprEqn) -> int:
    """2 x output elements x the length of the contracted axes."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = _shape_of(equation.invars[0])
    return 2 * math.prod(_shape_of(equation.outvars[0])) * math.prod(left[i] for i in contracted)


def _convolution_flops(equation: JaxprEqn) -> int:
    """2 x the products of a pixel and a weight, without products with the zeros of padding."""
    params = equation.params
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    lhs, rhs = (_shape_of(variable) for variable in equation.invars)
    out = _shape_of(equation.outvars[0])
    products = out[out_spec[0]] * out[out_spec[1]] * rhs[rhs_spec[1]]
    for axis in range(len(out) - 2):
        products *= _overlaps(
            lhs[lhs_spec[2 + axis]],
            rhs[rhs_spec[2 + axis]],
            out[out_spec[2 + axis]],
            stride=params["window_strides"][axis],
            padding=params["padding"][axis][0],
            lhs_dilation=params["lhs_dilation"][axis],
            rhs_dilation=params["rhs_dilation"][axis],
        )
    return 2 * products


def _overlaps(
    size: int,
    window: int,
    positions: int,
    *,
    stride: int,
    padding: int,
    lhs_dilation: int,
    rhs_dilation: int,
) -> int:
    """Counts the pairs of a window position and a window element that fall on one of the inputs."""
    starts = stride * np.arange(positions)[:, None] - padding
    places = starts + rhs_dilation * np.arange(window)[None, :]
    inside = (places >= 0) & (places <= (size - 1) * lhs_dilation)
    return int(np.sum(inside & (places % lhs_dilation == 0)))


def _shape_of(variable) -> tuple[int, ...]:
    """Returns the shape of a program's variable."""
    return variable.aval.shape


def _peak_flops(size: int) -> float:
    """Measures the FLOPs per second of the fastest of several float32 matrix products."""
    matrix = jax.random.normal(jax.random.key(0), (size, size))
    return 2 * size**3 / _fastest(jax.jit(jnp.matmul), matrix, matrix)


def _peak_bytes(size: int) -> float:
    """Measures the bytes per second of the fastest of several passes that read and write `size`."""
    array = jnp.zeros(size // 4, jnp.float32)
    return 2 * size / _fastest(jax.jit(lambda x: x + 1), array)


def _fastest(function: Callable, *arguments) -> float:
    """Returns the seconds of the fastest of five calls, after one that compiles."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def kernels(compiled: str) -> int:
    """Counts the instructions of a compiled program's entry that start a kernel each."""
    _, _, entry = compiled.partition("\nENTRY ")
    body, _, _ = entry.partition("\n}")
    names = "fusion|custom-call|dot|convolution|sort|reduce|reduce-window|copy|rng-bit-generator"
    return len(re.findall(rf" (?:{names})\(", body))
