"""The class names that config.json describes a network with, which never change."""

import dataclasses
import json
from typing import Any

from jaxae import models


def described_classes(description: Any) -> set[str]:
    """Returns the names of all classes in a description."""
    if isinstance(description, list):
        return set().union(*map(described_classes, description))
    if not isinstance(description, dict):
        return set()
    names = {value for key, value in description.items() if key == "class"}
    return names.union(*map(described_classes, description.values()))


def test_a_convolutional_network_is_written_with_the_names_that_runs_hold() -> None:
    model = models.denoise((28, 28, 1))
    description = json.loads(json.dumps(models.describe(model)))
    names = {"Autoencoder", "ConvEncoder", "ConvDecoder", "Conv", "Pool"}
    assert described_classes(description) == names
    assert description["encoder"]["layers"][0] == {
        "class": "Conv",
        "features": 16,
        "kernel_size": 3,
        "stride": 1,
        "padding": "SAME",
        "transpose": False,
        "pool": {"class": "Pool", "window": 2, "stride": 2, "padding": "SAME"},
        "upsample": 1,
        "size": None,
    }
    assert models.build(description) == model


def test_layers_are_described_and_built_again() -> None:
    for layer in (
        models.ConvLayer(4, transpose=True),
        models.PoolLayer(3, 2, "VALID"),
        models.TopK(2),
    ):
        description = models.describe(layer)
        fields = [field.name for field in dataclasses.fields(layer)]
        assert [*description] == ["class", *fields]
        assert models.build(description) == layer
