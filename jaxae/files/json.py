"""Files of JSON: written so that any program can read them, and read with one error."""

import json
from pathlib import Path
from typing import Any

from jaxae.errors import UserError, may_pass, unreadable

ADVICE = "the file is damaged: restore a copy of it, or give another run"


def encode_json(value: Any, indent: int | None = None) -> str:
    """JSON text of a value: arrays become lists, paths strings, and NaN and infinity null."""
    plain = json.loads(json.dumps(value, default=_plain), parse_constant=lambda name: None)
    return json.dumps(plain, indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    """NumPy's and JAX's numbers as Python's, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def decode_json(content: bytes) -> Any:
    """The value of JSON in UTF-8; ValueError for anything else, also for what nests too deeply."""
    try:
        value = json.loads(content.decode())
        if b"\\u" in content:  # half of a pair, which no file or terminal takes
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def read_json(path: Path, advice: str = ADVICE) -> dict[str, Any]:
    """The object in a file of JSON; UserError, which ends with advice, where it holds none."""
    try:
        value = decode_json(path.read_bytes())
    except (OSError, ValueError) as error:
        if may_pass(error):
            raise unreadable(path, error) from None
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"{path} cannot be read ({reason[:200]}): {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no object of JSON: {advice}")
    return value


def unfit(place: str | Path, error: ValueError, advice: str = ADVICE) -> UserError:
    """What to say of a file, or a line of one, whose JSON is not of the form expected."""
    return UserError(f"{place}: {error}; {advice}")
