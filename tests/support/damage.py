"""Damage to saved runs: to readable checkpoints, and to every JSON file."""

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
"""A minimal config.json."""

_DEEP = 10**4  # deeper than any JSON parser follows

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
"""Values that replace the value of a key."""

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
"""Contents that replace a JSON file, or a line of one."""


def merged(base: Any, changes: Any) -> Any:
    """Returns a JSON value with changes, merged key by key."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{name: merged(base.get(name), value) for name, value in changes.items()}}


def _encode(value: Any) -> bytes:
    """Encodes a value as JSON, those of _VALUES included."""
    return json.dumps(value).replace('"@deep@"', "[" * _DEEP + "]" * _DEEP).encode() + b"\n"


def _keys_of(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of each key in a JSON value, and of the first item of each list."""
    items = value.items() if isinstance(value, dict) else [*enumerate(value)][:1]
    for key, item in items:
        yield (*above, key)
        if isinstance(item, dict | list):
            yield from _keys_of(item, (*above, key))


def _damaged(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields copies of a JSON value, each with one key missing or changed, and a name for each."""
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
    """Yields every kind of damage to a JSON file, each with its name."""
    yield from _CONTENTS.items()
    yield "cut", content[: len(content) // 2]
    for name, value in _damaged(json.loads(content)):
        yield name, _encode(value)


def damaged_lines(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields every kind of damage to the second-to-last line of a JSON Lines file."""
    *before, line, last = content.splitlines(keepends=True)
    for name, changed in damaged_contents(line):
        yield name, b"".join([*before, changed.rstrip(b"\n") + b"\n", last])


def damaged_descriptions(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields every kind of damage to a checkpoint's description, with a matching checksum."""
    whole = json.loads(content)
    for name, changed in _damaged(whole["custom_metadata"]):
        described = {key: changed[key] for key in ("leaves", "loss") if key in changed}
        if "crc32" in changed and "@deep@" not in json.dumps(described):
            changed["crc32"] = checksum_of_json(described)
        yield name, _encode({**whole, "custom_metadata": changed})
    yield from damaged_contents(content)


def expect_other_numbers(checkpoint: Path) -> None:
    """Changes the stored checksum of a checkpoint's parameter, as if its bits had flipped."""
    path = checkpoint / METADATA
    metadata = json.loads(path.read_text())
    described = {name: metadata["custom_metadata"][name] for name in ("leaves", "loss")}
    name = next(name for name in described["leaves"] if "params" in name)
    described["leaves"][name]["crc32"] ^= 1
    metadata["custom_metadata"] = {**described, "crc32": checksum_of_json(described)}
    path.write_text(json.dumps(metadata))
