"""The six recipes in PyTorch: the same functions of the same parameters, images [N, C, H, W]."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class Peer:
    """A recipe in PyTorch."""

    network: Callable[[int], nn.Sequential]  # takes the code size, which some ignore
    loss: Callable[[Tensor, Tensor], Tensor]  # takes logits and pixels, returns a scalar
    convolutional: bool = False  # else images are [N, C * H * W]
    symmetric: bool = False  # pixels in [-1, 1], else in [0, 1]
    noise: float = 0.0  # standard deviation of the noise added to the network's input
    epsilon: float = 1e-8  # Adam's
    weight_decay: float = 0.0  # Adam's, L2
    activation: Callable[[Tensor], Tensor] = torch.sigmoid  # turns logits into pixels
    initialize: Callable[[Tensor], Any] | None = None  # for a kernel; None: PyTorch's default


def training_loss(peer: Peer, network: nn.Module, images: Tensor) -> Tensor:
    """Returns the loss of a uint8 batch."""
    pixels = pixels_of(peer, images)
    return peer.loss(network(corrupt(peer, pixels)), pixels)


def pixels_of(peer: Peer, images: Tensor) -> Tensor:
    """Returns uint8 images as floats, in the range of the recipe's pixels."""
    pixels = images.float() / 255
    return 2 * pixels - 1 if peer.symmetric else pixels


def corrupt(peer: Peer, pixels: Tensor) -> Tensor:
    """Returns pixels with the recipe's noise, if it has any, as the network's input."""
    if peer.noise == 0:
        return pixels
    return (pixels + peer.noise * torch.randn_like(pixels)).clamp(0, 1)


def make_network(peer: Peer, latent: int) -> nn.Sequential:
    """Returns the recipe's network with the initial values of the recipe's framework."""
    network = peer.network(latent)
    for layer in network:
        if peer.initialize is not None and isinstance(layer, _LAYERS):
            assert layer.bias is not None
            peer.initialize(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def make_optimizer(
    peer: Peer, network: nn.Module, learning_rate: float, *, fused: bool, capturable: bool = False
) -> torch.optim.Adam:
    """Returns the recipe's Adam; a CUDA graph can capture its step if it is capturable."""
    return torch.optim.Adam(
        network.parameters(),
        learning_rate,
        eps=peer.epsilon,
        weight_decay=peer.weight_decay,
        fused=fused,
        capturable=capturable,
    )


def _dense(features: tuple[int, ...], latent: int, *code: nn.Module) -> nn.Sequential:
    """Affine layers from pixels to a code and back, ReLU between, and `code` after the code."""
    encoder, decoder = _affine(*features, latent), _affine(latent, *reversed(features))
    return nn.Sequential(*encoder, *code, *decoder)


def _affine(*sizes: int) -> list[nn.Module]:
    """Affine layers from each size to the next, ReLU between."""
    layers = []
    for before, after in pairwise(sizes):
        layers += [nn.ReLU(), nn.Linear(before, after)]
    return layers[1:]


def _fashion(latent: int) -> nn.Sequential:
    """Dense, 784-256-128-latent and back."""
    return _dense((784, 256, 128), latent)


def _latent3d(latent: int) -> nn.Sequential:
    """Dense, 784-128-64-12-latent and back."""
    return _dense((784, 128, 64, 12), latent)


def _deep(latent: int) -> nn.Sequential:
    """Dense, 784-392-latent and back, ReLU on the code too."""
    return _dense((784, 392), latent, nn.ReLU())


def _denoise(latent: int) -> nn.Sequential:
    """Convolutions with pooling, sides 28-14-7-4, and back 4-8-16-28 by upsampling."""
    del latent
    halve = nn.MaxPool2d(2, ceil_mode=True)  # pads an odd side at its end, like Keras
    double = nn.Upsample(scale_factor=2)
    relu = nn.ReLU()
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), relu, halve),
        *(nn.Conv2d(16, 8, 3, padding=1), relu, halve),
        *(nn.Conv2d(8, 8, 3, padding=1), relu, halve),
        *(nn.Conv2d(8, 8, 3, padding=1), relu, double),
        *(nn.Conv2d(8, 8, 3, padding=1), relu, double),
        *(nn.Conv2d(8, 16, 3), relu, double),
        nn.Conv2d(16, 1, 3, padding=1),
    )


def _latent2d(latent: int) -> nn.Sequential:
    """Strided convolutions, sides 28-14-7, to a code, and transposed ones back; LeakyReLU."""
    leaky = nn.LeakyReLU(0.3)
    # With stride 2, Keras's SAME pads only right and below, and crops there when transposed.
    pad, crop = nn.ZeroPad2d((0, 1, 0, 1)), nn.ZeroPad2d((0, -1, 0, -1))
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), leaky),
        *(pad, nn.Conv2d(32, 64, 3, stride=2), leaky),
        *(pad, nn.Conv2d(64, 64, 3, stride=2), leaky),
        *(nn.Conv2d(64, 64, 3, padding=1), leaky),
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, latent)),
        *(nn.Linear(latent, 64 * 7 * 7), nn.Unflatten(1, (64, 7, 7))),
        *(nn.ConvTranspose2d(64, 64, 3, padding=1), leaky),
        *(nn.ConvTranspose2d(64, 64, 3, stride=2), crop, leaky),
        *(nn.ConvTranspose2d(64, 32, 3, stride=2), crop, leaky),
        nn.ConvTranspose2d(32, 1, 3, padding=1),
    )


def _conv(latent: int) -> nn.Sequential:
    """Strided convolutions and pooling, sides 28-10-5-3-2, and back 2-5-15-28."""
    del latent
    relu = nn.ReLU()
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, stride=3, padding=1), relu, nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 8, 3, stride=2, padding=1), relu, nn.MaxPool2d(2, stride=1)),
        *(nn.ConvTranspose2d(8, 16, 3, stride=2), relu),
        *(nn.ConvTranspose2d(16, 8, 5, stride=3, padding=1), relu),
        nn.ConvTranspose2d(8, 1, 2, stride=2, padding=1),
    )


def _sigmoid_error(logits: Tensor, pixels: Tensor) -> Tensor:
    """Squared error per pixel of sigmoid(logits)."""
    return F.mse_loss(torch.sigmoid(logits), pixels)


def _relu_error(logits: Tensor, pixels: Tensor) -> Tensor:
    """Squared error per pixel of relu(logits)."""
    return F.mse_loss(torch.relu(logits), pixels)


def _tanh_error(logits: Tensor, pixels: Tensor) -> Tensor:
    """Squared error per image of tanh(logits)."""
    return F.mse_loss(torch.tanh(logits), pixels, reduction="sum") / len(pixels)


def _lecun(kernel: Tensor) -> None:
    """Initializes the kernel [out, in] of an affine layer as Flax does: a truncated normal."""
    deviation = kernel.shape[1] ** -0.5 / 0.87962566  # of a normal before it is truncated
    nn.init.trunc_normal_(kernel, 0.0, deviation, -2 * deviation, 2 * deviation)


_keras = nn.init.xavier_uniform_  # Keras's default

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)

_cross_entropy = F.binary_cross_entropy_with_logits

PEERS = {
    "fashion": Peer(_fashion, _cross_entropy, epsilon=1e-7, initialize=_keras),
    "denoise": Peer(
        _denoise,
        _cross_entropy,
        convolutional=True,
        noise=0.5,
        epsilon=1e-7,
        initialize=_keras,
    ),
    "latent2d": Peer(
        _latent2d, _sigmoid_error, convolutional=True, epsilon=1e-7, initialize=_keras
    ),
    "latent3d": Peer(_latent3d, _tanh_error, symmetric=True, activation=torch.tanh),
    "conv": Peer(
        _conv,
        _tanh_error,
        convolutional=True,
        symmetric=True,
        weight_decay=1e-5,
        activation=torch.tanh,
    ),
    "deep": Peer(_deep, _relu_error, activation=torch.relu, initialize=_lecun),
}
