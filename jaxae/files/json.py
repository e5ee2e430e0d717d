"""JSON files: written as standard JSON, and read with one kind of error."""

import json
from pathlib import Path
from typing import Any

from jaxae.errors import UserError, may_pass, unreadable

_ADVICE = "the file is damaged: restore a copy of it, or give another run"


def encode_json(value: Any, indent: int | None = None) -> str:
    """Encodes a value as JSON: arrays become lists, paths strings, and NaN and infinity null."""
    plain = json.loads(json.dumps(value, default=_plain), parse_constant=lambda name: None)
    return json.dumps(plain, indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    """Converts NumPy's and JAX's numbers to Python's, and anything else to text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def decode_json(content: bytes) -> Any:
    """Decodes JSON in UTF-8; raises `ValueError` for other content or for too deep nesting."""
    try:
        value = json.loads(content.decode())
        if b"\\u" in content:  # half of a surrogate pair cannot be written as UTF-8
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def read_json(path: Path, advice: str = _ADVICE) -> dict[str, Any]:
    """Reads the object in a JSON file; raises `UserError` that ends with advice if it has none."""
    try:
        value = decode_json(path.read_bytes())
    except (OSError, ValueError) as error:
        if may_pass(error):
            raise unreadable(path, error) from None
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"{path} cannot be read ({reason[:200]}): {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object: {advice}")
    return value


def unfit(place: str | Path, error: ValueError, advice: str = _ADVICE) -> UserError:
    """Returns the error for a file, or a line of one, whose JSON has an unexpected form."""
    return UserError(f"{place}: {error}; {advice}")
