"""A matching encoder and decoder, for any member of the family."""

import math
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
from flax.typing import Dtype

from jaxae.errors import UserError
from jaxae.models.autoencoders import (
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Shape,
    check_shape,
    identity,
)
from jaxae.models.layers import Activation, ConvLayer, Initialization, lecun


@dataclass(frozen=True)
class Design:
    """The architecture of an encoder and its decoder."""

    shape: Shape  # of the images
    latent: int  # numbers in a code, or channels of a feature map
    kind: Literal["dense", "conv"] = "dense"
    hidden: tuple[int, ...] | None = None  # widths or channels from the image to the code
    activation: Activation = nn.relu
    initialization: Initialization = lecun
    logits_per_channel: int = 1  # that the likelihood reads
    dtype: Dtype | None = None  # of the computation

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the layers from the image to the code: `hidden`, or a default for the kind."""
        default = {"dense": (500,), "conv": (32, 64)}[self.kind]
        return default if self.hidden is None else self.hidden


def make_pair(
    design: Design,
    outputs: int,
    *,
    latent_activation: Activation = identity,
    maps: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Returns an encoder with `outputs` outputs and a decoder.

    A posterior needs two outputs for each dimension of the code. Each convolution halves the height
    and the width, and each transposed convolution doubles them. With `maps`, the code of a
    convolutional network is a feature map with `outputs` channels; a dense network ignores `maps`.

    Raises:
      UserError: the shape, the kind, or a width is not allowed, or the convolutions cannot halve
        the height and the width.
    """
    check_shape(design.shape)
    if design.kind not in ("dense", "conv"):
        raise UserError(f"a network of kind {design.kind} was asked for: choose dense or conv")
    if min(outputs, *design.widths, design.latent) < 1:
        raise UserError(
            f"a network of widths {design.widths} to a latent of {design.latent}: give 1 or more"
        )
    height, width, channels = design.shape
    logits = channels * design.logits_per_channel
    shared = {
        "activation": design.activation,
        "initialization": design.initialization,
        "dtype": design.dtype,
    }
    if design.kind == "dense":
        encoder = DenseEncoder(
            design.widths, outputs, latent_activation=latent_activation, **shared
        )
        return encoder, DenseDecoder(design.widths[::-1], (height, width, logits), **shared)
    factor = 2 ** len(design.widths)
    if not design.widths or height % factor or width % factor:
        side = math.gcd(height, width)
        halvings = (side & -side).bit_length() - 1  # the power of 2 in both sides
        raise UserError(
            f"{len(design.widths)} hidden widths were given for convolutions that each halve "
            f"{height}x{width} pixels: "
            + (
                f"give 1 to {halvings} widths"
                if halvings
                else "an odd side cannot be halved; pad it"
            )
            + ", or choose a dense network"
        )
    start = (height // factor, width // factor, design.widths[-1])
    down = tuple(ConvLayer(features, stride=2) for features in design.widths)
    up = tuple(
        ConvLayer(features, stride=2, transpose=True)
        for features in (*design.widths[-2::-1], logits)
    )
    if maps:
        # With 1x1 kernels, each position has a code of its own.
        return (
            ConvEncoder(
                (*down, ConvLayer(outputs, 1)), latent_activation=latent_activation, **shared
            ),
            ConvDecoder((ConvLayer(design.widths[-1], 1), *up), **shared),
        )
    return (
        ConvEncoder(down, outputs, latent_activation=latent_activation, **shared),
        ConvDecoder(up, start, **shared),
    )
