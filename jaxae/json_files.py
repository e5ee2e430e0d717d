"""Files of JSON: written so that any program can read them, and read with one error."""

import json
from pathlib import Path
from typing import Any

from jaxae.errors import UserError
from jaxae.files import write_whole

ADVICE = "give a run whose files are as they were written, or put back a copy of this one"


def encode(value: Any, indent: int | None = None) -> str:
    """JSON text of a value: paths become strings, NaN and infinity null, for JSON has neither."""
    plain = json.loads(json.dumps(value, default=str), parse_constant=lambda name: None)
    return json.dumps(plain, indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Writes a file of indented JSON, whole or not at all."""
    write_whole(path, encode(value, indent=2) + "\n")


def decode(content: bytes) -> Any:
    """The value of JSON in UTF-8; ValueError for anything else, also for what nests too deeply."""
    try:
        value = json.loads(content.decode())
        if b"\\u" in content:  # half of a pair, which no file or terminal takes
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def read_object(path: Path, advice: str = ADVICE) -> dict[str, Any]:
    """The object in a file of JSON; UserError, which ends with advice, where it holds none."""
    try:
        value = decode(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"{path} cannot be read ({reason[:200]}): {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no object of JSON: {advice}")
    return value


def unfit(place: str | Path, error: ValueError, advice: str = ADVICE) -> UserError:
    """What to say of a file, or a line of one, whose JSON is not what is written there."""
    return UserError(f"{place}: {error}; {advice}")
