"""A matching encoder and decoder, for any member of the family."""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
from flax.typing import Dtype

from jaxae.errors import UserError
from jaxae.models.autoencoders import (
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Shape,
    check_image_shape,
    check_shape,
    identity,
)
from jaxae.models.layers import Activation, ConvLayer, Initialization, halvings, lecun
from jaxae.models.residual import ResidualDecoder, ResidualEncoder

Kind = Literal["dense", "conv", "resnet"]


@dataclass(frozen=True)
class Design:
    """The architecture of an encoder and its decoder."""

    shape: Shape  # of the images or vectors
    latent: int  # numbers in a code, or channels of a feature map
    kind: Kind = "dense"
    # widths, or channels of each resolution, from the image to the code; None: the kind's default
    hidden: tuple[int, ...] | None = None
    activation: Activation | None = None  # None: SiLU in residual networks, else ReLU
    initialization: Initialization = lecun
    logits_per_channel: int = 1  # that the likelihood reads
    dtype: Dtype | None = None  # of the computation

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the layers from the image to the code: `hidden`, or a default for the kind.

        By default convolutions halve images until their longer side is at most 8 pixels, at least
        twice if they are strided, and once if they are residual. Residual networks of images above
        32 pixels start with fewer channels, because their blocks at the full size cost the most.
        """
        if self.hidden is not None:
            return self.hidden
        if self.kind == "dense":
            return (500,)
        count = next(n for n in range(64) if max(self.shape[:2]) <= 8 * 2**n)
        if self.kind == "conv":
            return tuple(min(32 * 2**n, 256) for n in range(max(count, 2)))
        first = 16 if count <= 2 else 8
        return tuple(min(first * 2**n, 64) for n in range(max(count, 1) + 1))


def make_pair(
    design: Design,
    outputs: int,
    *,
    latent_activation: Activation = identity,
    maps: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Returns an encoder with `outputs` outputs and a decoder, for images of any size.

    A posterior needs two outputs for each dimension of the code. Each strided convolution halves
    the height and the width, rounding up, and the layer that mirrors it restores them. In a
    residual network, the first width is that of the full resolution, and nothing is halved before.
    With `maps`, the code of a convolutional network is a feature map with `outputs` channels; a
    dense network ignores `maps`.

    Raises:
      UserError: the shape, the kind, or a width is not allowed, or convolutions are to read
        vectors.
    """
    if design.kind not in ("dense", "conv", "resnet"):
        raise UserError(
            f"a network of kind {design.kind} was asked for: choose dense, conv or resnet"
        )
    (check_shape if design.kind == "dense" else check_image_shape)(design.shape)
    if min(outputs, *design.widths, design.latent) < 1:
        raise UserError(
            f"a network of widths {design.widths} to a latent of {design.latent}: give 1 or more"
        )
    if design.kind == "dense":
        return _make_dense(design, outputs, latent_activation)
    if not design.widths:
        raise UserError("no hidden width was given for convolutions: give 1 or more")
    make = _make_strided if design.kind == "conv" else _make_residual
    return make(design, outputs, latent_activation, maps)


def _make_dense(
    design: Design, outputs: int, latent_activation: Activation
) -> tuple[DenseEncoder, DenseDecoder]:
    """Makes dense layers, for images or vectors."""
    shared = _shared(design, nn.relu)
    encoder = DenseEncoder(design.widths, outputs, latent_activation=latent_activation, **shared)
    shape = (*design.shape[:-1], _logits(design))
    return encoder, DenseDecoder(design.widths[::-1], shape, **shared)


def _make_strided(
    design: Design, outputs: int, latent_activation: Activation, maps: bool
) -> tuple[ConvEncoder, ConvDecoder]:
    """Makes strided convolutions and the transposed ones that mirror them."""
    shared = _shared(design, nn.relu)
    widths, sizes = design.widths, halvings(design.shape, len(design.widths))
    down = tuple(ConvLayer(features, stride=2) for features in widths)
    up = tuple(
        ConvLayer(features, stride=2, transpose=True, size=size)
        for features, size in zip((*widths[-2::-1], _logits(design)), sizes[-2::-1], strict=True)
    )
    if maps:
        # With 1x1 kernels, each position has a code of its own.
        down, up = (*down, ConvLayer(outputs, 1)), (ConvLayer(widths[-1], 1), *up)
    return (
        ConvEncoder(down, None if maps else outputs, latent_activation=latent_activation, **shared),
        ConvDecoder(up, None if maps else (*sizes[-1], widths[-1]), **shared),
    )


def _make_residual(
    design: Design, outputs: int, latent_activation: Activation, maps: bool
) -> tuple[ResidualEncoder, ResidualDecoder]:
    """Makes residual blocks, one at each resolution of the encoder and of the decoder."""
    shared = _shared(design, nn.silu)
    widths, sizes = design.widths, halvings(design.shape, len(design.widths) - 1)
    down = (ConvLayer(widths[0]), *(ConvLayer(features, stride=2) for features in widths[1:]))
    up = tuple(
        ConvLayer(features, upsample=2, size=size)
        for features, size in zip(widths[:0:-1], sizes[-2::-1], strict=True)
    )
    if maps:
        down = (*down, ConvLayer(outputs, 1))
    return (
        ResidualEncoder(
            down, None if maps else outputs, latent_activation=latent_activation, **shared
        ),
        ResidualDecoder(
            (*up, ConvLayer(widths[0]), ConvLayer(_logits(design))),
            None if maps else (*sizes[-1], widths[-1]),
            **shared,
        ),
    )


def _logits(design: Design) -> int:
    """Returns the number of logits of a pixel, or of a vector."""
    return design.shape[-1] * design.logits_per_channel


def _shared(design: Design, activation: Activation) -> dict[str, Any]:
    """Returns what the encoder and the decoder have in common."""
    return {
        "activation": design.activation or activation,
        "initialization": design.initialization,
        "dtype": design.dtype,
    }
