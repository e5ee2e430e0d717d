"""Damage to a checkpoint that can be read: its numbers are not those that were saved."""

import json
from pathlib import Path

from jaxae.checkpoint_reading import METADATA
from jaxae.checksums import checksum_of_json


def expect_other_numbers(checkpoint: Path) -> None:
    """Changes the checksum of a parameter in a checkpoint's folder, as if bits had flipped."""
    path = checkpoint / METADATA
    metadata = json.loads(path.read_text())
    described = {name: metadata["custom_metadata"][name] for name in ("leaves", "loss")}
    name = next(name for name in described["leaves"] if "params" in name)
    described["leaves"][name]["crc32"] ^= 1
    metadata["custom_metadata"] = {**described, "crc32": checksum_of_json(described)}
    path.write_text(json.dumps(metadata))
