"""Damage: to a checkpoint, whose numbers are not those that were saved, and to files of JSON."""

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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


def json_damages(document: Any) -> Iterator[tuple[str, bytes]]:
    """What can become of a file of JSON, each with its description: every key, and the whole."""
    whole = json.dumps(document)
    yield from {
        "empty": b"",
        "cut": whole[: len(whole) // 2].encode(),
        "no text": b"\xff\xfe\x00\x80",
        "nested": b"[" * 100_000,
        "nested and closed": b"[" * 100_000 + b"]" * 100_000,
        "a number of 5000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    }.items()
    values = [None, True, -1, 0, 2**70, 1e308, float("inf"), "", "x", "9" * 5000, [], {}, [[]]]
    for path in [(), *_paths(document)]:
        yield f"{path} missing", json.dumps(_replaced(document, path)).encode()
        for value in values:
            yield (
                f"{path} is {value!r:.20}",
                json.dumps(_replaced(document, path, [value])).encode(),
            )


def _paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value below a document's top stands."""
    children = enumerate(document) if isinstance(document, list) else ()
    for key, child in document.items() if isinstance(document, dict) else children:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _replaced(document: Any, path: tuple[Any, ...], values: Sequence[Any] = ()) -> Any:
    """A copy of a document with another value at a path, or with none there."""
    if not path:
        return values[0] if values else {}
    changed = copy.deepcopy(document)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    if values and isinstance(parent, list):
        parent.insert(path[-1], values[0])
    elif values:
        parent[path[-1]] = values[0]
    return changed
