"""The settings of the family's members: their defaults, ranges and descriptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxae.errors import UserError

Settings = Mapping[str, Any]
"""Values by the names of their settings: numbers, or tuples of whole numbers."""


@dataclass(frozen=True)
class Setting:
    """A number, or a tuple of whole numbers, that a user can set for a member of the family.

    Attributes:
      default: the value if none is given; a whole number makes all values whole.
      help: a phrase that describes it.
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
        """Returns whether all numbers of a value are in the range, and whole if they must be."""
        numbers = value if isinstance(value, tuple) else (value,)
        return bool(numbers) and all(
            self.low <= number <= self.high and (self.kind is float or number == int(number))
            for number in numbers
        )


def defaults_of(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Returns the default of each setting by name."""
    return {name: setting.default for name, setting in settings.items()}


def fill_settings(name: str, settings: Mapping[str, Setting], given: Settings) -> dict[str, Any]:
    """Returns all settings of the member `name`: those given, and the defaults of the others.

    Raises `UserError` for a setting that the member does not have, and for a value out of range.
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
    """Returns the type and the description of each setting of all members, sorted by name.

    A description names the members that have the setting, with their defaults. Raises `ValueError`
    if two members give a setting different types.
    """
    kinds: dict[str, Any] = {}
    owners: dict[str, dict[str, list[str]]] = {}  # members by setting and by its help
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
    """Returns a setting's option on the command line."""
    return f"--{setting.replace('_', '-')}"
