"""Convolutions by matrix products against `jax.lax`: values and derivatives, over many shapes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array, lax

from jaxae.convolutions import drop_ins, transposed_padding

# Each example compiles programs for its own shapes, so there are few, the same ones each time.
few = settings(max_examples=12, deadline=None, derandomize=True)


class Case(NamedTuple):
    """The shapes of a convolution."""

    batch: int
    size: tuple[int, int]
    channels: int
    features: int
    taps: tuple[int, int]
    strides: tuple[int, int]
    padding: Any


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Pairs of integers between two bounds, both included."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


cases = st.builds(
    Case,
    batch=st.integers(1, 3),
    size=pairs(5, 9),
    channels=st.integers(1, 4),
    features=st.integers(1, 4),
    taps=pairs(1, 5),
    strides=pairs(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]) | st.lists(pairs(0, 3), min_size=2, max_size=2),
)


def normal(seed: int, *shape: int, dtype: Any = np.float32) -> Array:
    """Draws standard normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def inputs_of(case: Case) -> tuple[Array, Array]:
    """Returns images [N, H, W, C] and a kernel [h, w, C, O]."""
    return (
        normal(0, case.batch, *case.size, case.channels),
        normal(1, *case.taps, case.channels, case.features),
    )


def convolution(function: Callable[..., Array], case: Case, *, transposed: bool) -> Callable:
    """Returns `function`, which has lax's signature, with the arguments of a case."""
    padding, strides, dilation = case.padding, case.strides, (1, 1)
    if transposed:
        pads = [padding] * 2 if isinstance(padding, str) else padding
        padding = [transposed_padding(*axis) for axis in zip(case.taps, strides, pads, strict=True)]
        strides, dilation = (1, 1), strides
    return partial(
        function,
        window_strides=strides,
        padding=padding,
        lhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def derivatives(function: Callable[..., Array], *inputs: Array) -> dict[str, Any]:
    """Returns a function's value, and first and second derivatives of a nonlinear sum of it."""

    def total(*inputs: Array) -> Array:
        return jnp.sum(jnp.sin(function(*inputs)))

    arguments = tuple(range(len(inputs)))
    directions = tuple(normal(5 + n, *array.shape) for n, array in enumerate(inputs))
    gradients = jax.grad(total, arguments)

    def sloped(*inputs: Array) -> Array:
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradients(*inputs), directions)
        return jnp.sum(jnp.stack(products))

    return {
        "value": function(*inputs),
        "gradients": gradients(*inputs),
        "tangent": jax.jvp(total, inputs, directions)[1],
        "reverse over reverse": jax.grad(sloped, arguments)(*inputs),
        "forward over reverse": jax.jvp(gradients, inputs, directions)[1],
    }


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Checks that arrays have equal shapes and dtypes, and are close relative to their maximum."""
    for left, right in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        left, right = (np.asarray(array, np.float64) for array in (left, right))
        scale = max(np.abs(right).max(initial=0), 1.0)
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * scale)


def compiled(function: Callable) -> Callable:
    """Jits a function with XLA's backend optimizations off, so that it compiles fast."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.slow
@pytest.mark.parametrize("transposed", [False, True])
@few
@given(case=cases)
def test_agrees_with_lax(transposed: bool, case: Case) -> None:
    inputs = inputs_of(case)
    expected = convolution(lax.conv_general_dilated, case, transposed=transposed)
    actual = convolution(drop_ins.conv_general_dilated, case, transposed=transposed)
    if 0 in (shape := jax.eval_shape(expected, *inputs).shape):
        assert jax.eval_shape(actual, *inputs).shape == shape
        return
    values = [compiled(partial(derivatives, function))(*inputs) for function in (actual, expected)]
    assert_close(*values)


CASE = Case(2, (7, 6), 2, 5, (3, 3), (1, 1), "SAME")
CASES = {
    "gathered": CASE,
    "scattered": CASE._replace(channels=5, features=2),
    "strided": CASE._replace(strides=(2, 3)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.mark.slow
@every_case
def test_agrees_with_lax_over_replicas(case: Case) -> None:
    x, kernel = inputs_of(case)
    kernels = normal(2, 3, *kernel.shape)

    def gradients(function: Callable[..., Array]) -> Array:
        def total(x: Array, kernel: Array) -> Array:
            return jnp.sum(jnp.sin(function(x, kernel)))

        return compiled(jax.vmap(jax.grad(total, (0, 1)), in_axes=(None, 0)))(x, kernels)

    actual = gradients(convolution(drop_ins.conv_general_dilated, case, transposed=False))
    expected = gradients(convolution(lax.conv_general_dilated, case, transposed=False))
    assert_close(actual, expected)


@every_case
def test_agrees_with_lax_in_bfloat16(case: Case) -> None:
    inputs = [array.astype(jnp.bfloat16) for array in inputs_of(case)]
    actual = convolution(drop_ins.conv_general_dilated, case, transposed=False)
    expected = convolution(lax.conv_general_dilated, case, transposed=False)
    assert_close(compiled(actual)(*inputs), compiled(expected)(*inputs), tolerance=1e-2)


@every_case
def test_nan_spreads_as_with_lax(case: Case) -> None:
    x, kernel = inputs_of(case)
    x = x.at[0, 2, 3, 1].set(jnp.nan)
    actual = compiled(convolution(drop_ins.conv_general_dilated, case, transposed=False))
    expected = compiled(convolution(lax.conv_general_dilated, case, transposed=False))
    np.testing.assert_array_equal(jnp.isnan(actual(x, kernel)), jnp.isnan(expected(x, kernel)))


@pytest.mark.slow
def test_agrees_with_lax_if_xla_computes_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_ins, "LARGE", 0)
    case = CASES["strided"]
    actual = convolution(drop_ins.conv_general_dilated, case, transposed=False)
    expected = convolution(lax.conv_general_dilated, case, transposed=False)
    values = [
        compiled(partial(derivatives, function))(*inputs_of(case))
        for function in (actual, expected)
    ]
    assert_close(*values)


@pytest.mark.parametrize(
    "changes",
    [
        {"rhs_dilation": (2, 2)},
        {"feature_group_count": 2},
        {"batch_group_count": 2},
        {"precision": "highest"},
        {"lhs_dilation": (2, 2), "window_strides": (2, 2)},
        {"dimension_numbers": ("NCHW", "HWIO", "NHWC")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_rest_is_left_to_lax(changes: dict[str, Any]) -> None:
    options = {
        "window_strides": (1, 1),
        "padding": [(1, 1), (1, 2)],
        "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
        **changes,
    }
    x = normal(0, 4, 4, 4, 4)
    kernel = normal(1, 3, 3, 4 // options.get("feature_group_count", 1), 6)
    actual = jax.make_jaxpr(partial(drop_ins.conv_general_dilated, **options))(x, kernel)
    expected = jax.make_jaxpr(partial(lax.conv_general_dilated, **options))(x, kernel)
    assert str(actual) == str(expected)


def test_errors_are_those_of_lax() -> None:
    x, kernel = normal(0, 1, 5, 5, 2), normal(1, 3, 3, 3, 4)
    with pytest.raises(ValueError, match="feature dimension"):
        convolution(drop_ins.conv_general_dilated, CASE, transposed=False)(x, kernel)


@pytest.mark.parametrize("function", [drop_ins.conv_general_dilated, drop_ins.max_pool])
@pytest.mark.parametrize(
    ("platform", "by_products"), [("cpu", True), ("cuda", False), ("tpu", False)]
)
def test_the_platform_decides(function: Callable, platform: str, by_products: bool) -> None:
    x, kernel = inputs_of(CASE)
    if function is drop_ins.max_pool:
        call, own = jax.jit(partial(function, window_shape=(2, 2))), "stablehlo.reduce_window"
        traced = call.trace(x)
    else:
        call, own = jax.jit(convolution(function, CASE, transposed=False)), "stablehlo.convolution"
        traced = call.trace(x, kernel)
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert (own not in program) == by_products


# Max-pool.


@pytest.mark.slow
@few
@given(
    size=pairs(3, 7),
    taps=pairs(1, 3),
    strides=pairs(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]) | st.lists(pairs(0, 1), min_size=2, max_size=2),
)
def test_max_pool_agrees_with_lax_at_ties(size, taps, strides, padding) -> None:
    # With few different values, most windows hold their maximum more than once.
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, *size, 3)), jnp.float32)
    if isinstance(padding, list):
        padding = [
            tuple(min(p, t - 1) for p in pair) for pair, t in zip(padding, taps, strict=True)
        ]
    pools = [
        partial(pool, window_shape=taps, strides=strides, padding=padding)
        for pool in (drop_ins.max_pool, nn.max_pool)
    ]
    weights = jnp.round(10 * normal(1, *jax.eval_shape(pools[1], x).shape))  # sums are exact

    def gradient(pool: Callable[..., Array]) -> tuple[Array, Array]:
        return pool(x), jax.grad(lambda x: jnp.sum(weights * pool(x)))(x)

    actual, expected = compiled(lambda: [gradient(pool) for pool in pools])()
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.slow
def test_max_pool_agrees_with_lax_in_second_order_and_over_replicas() -> None:
    x = normal(0, 2, 1, 5, 4, 2)

    def gradients(pool: Callable[..., Array]) -> Array:
        def total(x: Array) -> Array:
            return jnp.sum(jnp.sin(pool(x, window_shape=(3, 2))))

        def sloped(x: Array) -> Array:
            return jnp.sum(jnp.sin(jax.grad(total)(x)))

        return compiled(jax.vmap(jax.grad(sloped)))(x)

    assert_close(gradients(drop_ins.max_pool), gradients(nn.max_pool))


def test_a_wide_max_pool_is_left_to_flax() -> None:
    x = normal(0, 1, 18, 18, 1)
    pools = [partial(pool, window_shape=(17, 17)) for pool in (drop_ins.max_pool, nn.max_pool)]
    own, flax = (str(jax.make_jaxpr(pool)(x)) for pool in pools)
    assert own == flax


def test_max_pool_propagates_nan() -> None:
    x = normal(0, 1, 4, 4, 2).at[0, 1, 1, 0].set(jnp.nan)
    actual, expected = (
        pool(x, window_shape=(2, 2), strides=(1, 1)) for pool in (drop_ins.max_pool, nn.max_pool)
    )
    np.testing.assert_array_equal(actual, expected)


# Flax's modules.

MODULES = {
    "convolution": (drop_ins.Conv, nn.Conv, {"strides": 2}),
    "without bias": (drop_ins.Conv, nn.Conv, {"use_bias": False, "padding": "CIRCULAR"}),
    "transposed": (drop_ins.ConvTranspose, nn.ConvTranspose, {"strides": (2, 3)}),
    "valid": (drop_ins.ConvTranspose, nn.ConvTranspose, {"padding": "VALID", "use_bias": False}),
    "padded": (drop_ins.ConvTranspose, nn.ConvTranspose, {"padding": ((1, 2), (0, 1))}),
    "circular": (drop_ins.ConvTranspose, nn.ConvTranspose, {"padding": "CIRCULAR"}),
    "rows": (drop_ins.ConvTranspose, nn.ConvTranspose, {"kernel_size": (3,)}),
    "half": (drop_ins.ConvTranspose, nn.ConvTranspose, {"dtype": jnp.bfloat16}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("own", "flax", "options"), MODULES.values(), ids=MODULES)
def test_modules_equal_those_of_flax(own: Any, flax: Any, options: dict[str, Any]) -> None:
    options = {"kernel_size": (3, 4), **options}
    module, reference = own(4, **options), flax(4, **options)
    x, key = normal(0, 2, 7, 6, 3), jax.random.key(0, impl="rbg")
    output, variables = compiled(reference.init_with_output)(key, x)
    own_output, own_variables = compiled(module.init_with_output)(key, x)
    assert jax.tree.structure(own_variables) == jax.tree.structure(variables)
    assert_close(own_variables, variables)
    assert_close(own_output, output, tolerance=1e-2 if "dtype" in options else 1e-5)


class Pair(nn.Module):
    """Two layers that name themselves."""

    kinds: tuple[Any, Any]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        convolution, transposed = self.kinds
        return transposed(2, (3, 3))(convolution(3, (3, 3))(x))


def test_modules_name_themselves_like_those_of_flax() -> None:
    pairs_of_kinds = [(drop_ins.Conv, drop_ins.ConvTranspose), (nn.Conv, nn.ConvTranspose)]
    x = normal(0, 1, 5, 5, 1)
    own, flax = (jax.eval_shape(Pair(kinds).init, jax.random.key(0), x) for kinds in pairs_of_kinds)
    assert own == flax
