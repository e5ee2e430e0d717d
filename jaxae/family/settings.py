"""The settings of the family's members: their defaults, ranges and descriptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxae.errors import UserError

Settings = Mapping[str, Any]
"""Numbers, or tuples of whole numbers, by the names of the settings they are given to."""


@dataclass(frozen=True)
class Setting:
    """A number that a member of the family can be set to, or a tuple of whole numbers.

    Attributes:
      default: the number, or tuple, if none is given; whole numbers stay whole.
      help: a phrase that says what it is.
      low: the lowest number allowed.
      high: the highest number allowed.
    """

    default: int | float | tuple[int, ...]
    help: str
    low: float = 0
    high: float = 1e9

    @property
    def kind(self) -> Any:
        """The type of its values: int, float, or a tuple of ints."""
        return tuple[int, ...] if isinstance(self.default, tuple) else type(self.default)

    def allows(self, value: Any) -> bool:
        """Whether a number, or each of a tuple's, is in the range, and whole if it must be."""
        numbers = value if isinstance(value, tuple) else (value,)
        return bool(numbers) and all(
            self.low <= number <= self.high and (self.kind is float or number == int(number))
            for number in numbers
        )


def defaults_of(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The defaults of settings by name."""
    return {name: setting.default for name, setting in settings.items()}


def fill_settings(name: str, settings: Mapping[str, Setting], given: Settings) -> dict[str, Any]:
    """All settings of a member of this name: those given, and the defaults of the others.

    Raises UserError for a setting that it does not have, and for one out of its range.
    """
    for setting, value in given.items():
        flag = _flag_of(setting)
        if setting not in settings:
            flags = ", ".join(map(_flag_of, settings)) or "none at all"
            raise UserError(f"{flag} {value}: {name} has no such setting; it has {flags}")
        allowed = settings[setting]
        if not allowed.allows(value):
            kind = "numbers" if allowed.kind is float else "whole numbers"
            raise UserError(f"{flag} {value}: give {kind} from {allowed.low:g} to {allowed.high:g}")
    return {**defaults_of(settings), **given}


def describe_settings(
    members: Mapping[str, Mapping[str, Setting]],
) -> dict[str, tuple[Any, str]]:
    """The type and the description of each setting that any of the members has, sorted by name.

    A description names the members that have the setting, with their defaults. Raises `ValueError`
    if two members give a setting different types.
    """
    kinds: dict[str, Any] = {}
    owners: dict[str, dict[str, list[str]]] = {}  # of each setting: its members by what it is
    for member, settings in members.items():
        for name, setting in settings.items():
            if kinds.setdefault(name, setting.kind) != setting.kind:
                raise ValueError(
                    f"{name} of {member} is {setting.kind}, but {kinds[name]} in another member: "
                    "give its default the same type, or the setting another name"
                )
            number = setting.default
            text = " ".join(map(str, number)) if isinstance(number, tuple) else f"{number:g}"
            owners.setdefault(name, {}).setdefault(setting.help, []).append(f"{member} {text}")
    return {
        name: (
            kinds[name],
            "; ".join(f"{phrase} ({', '.join(each)})" for phrase, each in owners[name].items()),
        )
        for name in sorted(kinds)
    }


def _flag_of(setting: str) -> str:
    """A setting as it is written on the command line."""
    return f"--{setting.replace('_', '-')}"
