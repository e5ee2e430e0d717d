"""JSON files from outside, read value by value: each is of the type that is asked for, or an error.

>>> document = read(Path("dataset_info.json"), remedy="prepare the set again")
>>> document.get("splits").items()[0].get("name").text()
'train'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxae.errors import UserError
from jaxae.json_files import decode
from jaxae.typed import shorten


@dataclass(frozen=True)
class Value:
    """A value in a JSON file, and where it stands there."""

    file: Path
    remedy: str  # what to do if it is wrong
    key: str  # its path in the file, such as splits[0].name
    content: Any  # None where the key is missing

    def get(self, key: str) -> Value:
        """The value of a key of this object."""
        value = self._of_type(dict, "an object").get(key)
        return Value(self.file, self.remedy, f"{self.key}.{key}".lstrip("."), value)

    def fields(self) -> dict[str, Value]:
        """All keys of this object with their values."""
        return {key: self.get(key) for key in self._of_type(dict, "an object")}

    def items(self) -> list[Value]:
        """The values of this list."""
        return [
            Value(self.file, self.remedy, f"{self.key}[{index}]", content)
            for index, content in enumerate(self._of_type(list, "a list"))
        ]

    def text(self) -> str:
        """This string, which is not empty."""
        return self._of_type(str, "a string") or self.refuse("a string that is not empty")

    def integer(self, low: int, high: int) -> int:
        """This whole number, perhaps in quotes as protobuf writes those of 64 bits."""
        content = self.content
        if isinstance(content, str) and re.fullmatch(r"-?[0-9]{1,19}", content):
            content = int(content)
        if type(content) is int and low <= content <= high:
            return content
        return self.refuse(f"a whole number from {low} to {high}")

    def refuse(self, needed: str) -> Any:
        """Raises the UserError which says that this value is not what is needed."""
        found = "missing" if self.content is None else shorten(self.content)
        raise UserError(
            f"{self.key or 'The top level'} in {self.file} is {found}, where {needed} is needed: "
            f"{self.remedy}"
        )

    def _of_type(self, kind: type, needed: str) -> Any:
        return self.content if isinstance(self.content, kind) else self.refuse(needed)


def read(file: Path, remedy: str) -> Value:
    """The JSON in a file; UserError, which ends with a remedy, where it holds none."""
    try:
        return Value(file, remedy, "", decode(file.read_bytes()))
    except OSError as error:
        reason = error.strerror
    except ValueError as error:
        reason = f"it holds no JSON: {error}"
    raise UserError(f"{file} cannot be read ({reason}): {remedy}")
