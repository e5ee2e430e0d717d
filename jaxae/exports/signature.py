"""What the functions of an exported network take and return."""

from dataclasses import dataclass
from typing import Literal

from jaxae.models import Shape
from jaxae.network import Trained
from jaxae.programs import code_shape_of

Input = Literal["uint8", "float32"]


@dataclass(frozen=True)
class Signature:
    """Shapes and types of an exported network's functions, without the batch axis."""

    shape: Shape  # of an image or a vector
    input: Input  # uint8 pixels, or the floats that `Trained` takes
    code_shape: Shape
    classes: int | None  # of a conditional network, whose functions also take int32 labels

    @property
    def noun(self) -> str:
        """The word for the examples."""
        return "vectors" if len(self.shape) == 1 else "images"


def signature_of(trained: Trained, shape: Shape, asked: Input | None = None) -> Signature:
    """Returns the signature of a network for images or vectors of a shape.

    Its input is the one asked for. By default that is uint8 for images, unless the network was
    trained on floats beyond [0, 1] or on scaled data.
    """
    pixels = len(shape) > 1 and trained.scaling is None and not trained.standardized
    code_shape = code_shape_of(trained.network, trained.variables, shape)
    chosen: Input = asked or ("uint8" if pixels else "float32")
    return Signature(shape, chosen, code_shape, trained.classes)


def describe_batch(shape: Shape) -> str:
    """Returns the shape of a batch in words, such as [N, 28, 28, 1]."""
    return f"[N, {', '.join(map(str, shape))}]"


def describe_images(signature: Signature, trained: Trained) -> str:
    """Says which numbers the encoder reads and the decoder returns."""
    batch = describe_batch(signature.shape)
    scaled = trained.scaling is not None
    bounded = trained.network.likelihood.bounded and not scaled
    if signature.input == "uint8":
        reads = f"uint8 pixels {batch}"
    else:
        reads = f"float32 {signature.noun} {batch}" + (" in [0, 1]" if bounded else "")
    returns = "floats in [0, 1]" if bounded else "the numbers of the data"
    return f"reads {reads}, and returns {returns} of the same shape"
