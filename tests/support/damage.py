"""Damage to what a run has saved: to checkpoints that can be read, and to every file of JSON."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxae.checkpoint.checksums import checksum_of_json
from jaxae.checkpoint.reading import METADATA

CONFIG: dict[str, Any] = {
    "experiment": "small",
    "dataset": {
        "name": "mnist",
        "train_images": 100,
        "test_images": 30,
        "image_shape": [28, 28, 1],
        "fingerprint": "0" * 64,
    },
    "options": {"run": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "replicas": 1}},
    "steps_per_epoch": 7,
    "command": "python experiments/small.py",
    "versions": {"jax": "1.2"},
    "devices": ["a device"],
}
"""The least that a config.json holds."""

_DEEP = 10**4  # deeper than any parser of JSON follows

_VALUES: dict[str, Any] = {
    "null": None,
    "text": "x",
    "a list": ["x"],
    "an object": {"x": 1},
    "true": True,
    "a fraction": -1.5,
    "1e308": 1e308,
    "a huge number": 10**30,
    "NaN": float("nan"),
    "nested": json.loads("[" * 300 + "]" * 300),
    "nested too deeply": "@deep@",
    "half of a pair": "\ud800",
}
"""What a key holds in place of its value."""

_CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "an empty line": b"\n",
    "no text": b"\xff\xfe\x00\n",
    "no JSON": b"garbage\n",
    "a list": b"[1, 2]\n",
    "null": b"null\n",
    "an empty object": b"{}\n",
    "too many digits": b'{"epoch": ' + b"9" * 5000 + b"}\n",
    "too deep": b"[" * _DEEP + b"\n",
}
"""What a file, or a line of one, holds in place of JSON."""


def merged(base: Any, changes: Any) -> Any:
    """A value of JSON with changes, which are merged key by key."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{name: merged(base.get(name), value) for name, value in changes.items()}}


def _encode(value: Any) -> bytes:
    """JSON with whatever _VALUES holds."""
    return json.dumps(value).replace('"@deep@"', "[" * _DEEP + "]" * _DEEP).encode() + b"\n"


def _keys_of(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each key of a value of JSON, and of the first item of each list."""
    items = value.items() if isinstance(value, dict) else [*enumerate(value)][:1]
    for key, item in items:
        yield (*above, key)
        if isinstance(item, dict | list):
            yield from _keys_of(item, (*above, key))


def _damaged(value: Any) -> Iterator[tuple[str, Any]]:
    """A value of JSON with each key missing or holding another value, with words for what it is."""
    for path in _keys_of(value):
        for name in ("missing", *_VALUES):
            changed = copy.deepcopy(value)
            place = changed
            for key in path[:-1]:
                place = place[key]
            if name == "missing":
                del place[path[-1]]
            else:
                place[path[-1]] = _VALUES[name]
            yield f"{'.'.join(map(str, path))}: {name}", changed


def damaged_contents(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The content of a file of one value of JSON, damaged in each way."""
    yield from _CONTENTS.items()
    yield "cut", content[: len(content) // 2]
    for name, value in _damaged(json.loads(content)):
        yield name, _encode(value)


def damaged_lines(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The content of a file of lines of JSON, the second to last of them damaged in each way."""
    *before, line, last = content.splitlines(keepends=True)
    for name, changed in damaged_contents(line):
        yield name, b"".join([*before, changed.rstrip(b"\n") + b"\n", last])


def damaged_descriptions(content: bytes) -> Iterator[tuple[str, bytes]]:
    """A checkpoint's description, damaged in each way, with a checksum that fits."""
    whole = json.loads(content)
    for name, changed in _damaged(whole["custom_metadata"]):
        described = {key: changed[key] for key in ("leaves", "loss") if key in changed}
        if "crc32" in changed and "@deep@" not in json.dumps(described):
            changed["crc32"] = checksum_of_json(described)
        yield name, _encode({**whole, "custom_metadata": changed})
    yield from damaged_contents(content)


def expect_other_numbers(checkpoint: Path) -> None:
    """Changes the checksum of a parameter in a checkpoint's folder, as if bits had flipped."""
    path = checkpoint / METADATA
    metadata = json.loads(path.read_text())
    described = {name: metadata["custom_metadata"][name] for name in ("leaves", "loss")}
    name = next(name for name in described["leaves"] if "params" in name)
    described["leaves"][name]["crc32"] ^= 1
    metadata["custom_metadata"] = {**described, "crc32": checksum_of_json(described)}
    path.write_text(json.dumps(metadata))
