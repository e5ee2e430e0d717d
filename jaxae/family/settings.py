"""What members of the family can be set to, and in which ranges."""

from collections.abc import Mapping
from typing import Any

from jaxae.errors import UserError

Settings = Mapping[str, Any]

# Of the settings that cannot be any number from 0 to a billion.
RANGES: dict[str, tuple[float, float]] = {
    "noise": (0, 1e6),
    "rate": (0, 1),
    "active": (1, 2**20),
    "probes": (1, 2**10),
    "anneal_steps": (1, 2**31 - 1),
    "alpha": (-1e6, 1),
    "samples": (1, 2**20),
    "groups": (1, 2**20),
    "mixture": (0, 1),
    "codebook": (2, 2**20),
    "dimension": (1, 2**20),
    "decay": (0, 0.9999),  # with 1 a codebook would never move
    "levels": (2, 27),  # beyond them features of limited scale cannot all be outermost
}


def fill_settings(name: str, defaults: Settings, given: Settings) -> dict[str, Any]:
    """All settings of a member of this name: those given, and for the rest the defaults.

    Raises UserError for a setting that it does not have, and for one out of its range.
    """
    for setting, value in given.items():
        flag = flag_of(setting)
        if setting not in defaults:
            flags = ", ".join(map(flag_of, defaults)) or "none at all"
            raise UserError(f"{flag} {value}: {name} has no such setting; it has {flags}")
        low, high = RANGES.get(setting, (0, 1e9))
        numbers = value if isinstance(value, tuple) else (value,)
        default = defaults[setting]
        whole = isinstance(default[0] if isinstance(default, tuple) else default, int)
        if not numbers or not all(
            low <= number <= high and (not whole or number == int(number)) for number in numbers
        ):
            kind = "whole numbers" if whole else "numbers"
            raise UserError(f"{flag} {value}: give {kind} from {low:g} to {high:g}")
    return {**defaults, **given}


def flag_of(setting: str) -> str:
    """A setting as it is written on the command line."""
    return f"--{setting.replace('_', '-')}"
