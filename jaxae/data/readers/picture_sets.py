"""A set of pictures, wherever they are: what they become by their headers, and their pixels."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from jaxae.data.readers import parallel
from jaxae.data.readers.listing import printable
from jaxae.data.readers.picture_decoding import (
    Decoded,
    Header,
    Source,
    Target,
    UnreadableError,
    decode,
    has_gray_palette,
    read_header,
    same_proportions,
)
from jaxae.data.reading import Opened, Piece, Reading
from jaxae.errors import UserError

OPTIONS = ("size", "fit", "channels", "background", "skip_unreadable")
"""The fields of `Reading` that apply to pictures."""

_MOST_PIXELS = 4096  # of a side
_BYTES_AT_ONCE = 2**24  # of decoded pictures
_HEADERS_AT_ONCE = 1000

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PictureSet:
    """Pictures whose headers are read.

    Attributes:
      name: of the dataset.
      place: where they are, for errors.
      source: finds a picture by its name.
      headers: of the readable pictures, by name, in order.
      problems: the reason for each of the others.
    """

    name: str
    place: str
    source: Callable[[str], Source]
    headers: Mapping[str, Header]
    problems: Mapping[str, str]


def check_size(reading: Reading) -> None:
    """Raises `UserError` for a size that pictures cannot have, and for --fit without one."""
    size = reading.size
    if size is None and reading.fit is not None:
        raise UserError(f"--fit {reading.fit} was given without a size: add one, such as --size 64")
    if size is not None and not (len(size) in (1, 2) and all(1 <= n <= _MOST_PIXELS for n in size)):
        raise UserError(
            f"--size {' '.join(map(str, size))} was given: give one number for the side, or the "
            f"height and the width, each from 1 to {_MOST_PIXELS} pixels"
        )


def open_set(
    pictures: PictureSet,
    splits: Mapping[str, Sequence[str]],
    labels: Mapping[str, np.ndarray] | None,
    class_names: tuple[str, ...],
    reading: Reading,
) -> Opened:
    """Describes the pictures of splits, by name, as the options and the headers make them.

    Raises `UserError` if these leave the size or the proportions open.
    """
    target = _make_target(pictures, reading)
    return Opened(
        shape=(target.height, target.width, target.channels),
        dtype=np.dtype(np.uint8),
        counts={split: len(names) for split, names in splits.items()},
        labels=labels,
        class_names=class_names,
        read=partial(_read, pictures, splits, target, reading.skip_unreadable),
    )


def _make_target(pictures: PictureSet, reading: Reading) -> Target:
    """Returns what all pictures become, by the options and the headers."""
    height, width = _size(pictures, reading)
    channels = reading.channels or _default_channels(pictures)
    return Target(height, width, channels, reading.fit, reading.background)


def _size(pictures: PictureSet, reading: Reading) -> tuple[int, int]:
    """Returns height and width; raises `UserError` if the options and the headers leave it open."""
    sizes = Counter((header.height, header.width) for header in pictures.headers.values())
    if reading.size is None:
        if len(sizes) > 1:
            raise UserError(
                f"the pictures in {pictures.place} have {len(sizes):,} sizes (height x width): "
                f"{_most_common(sizes)}: give them one, such as --size 64 --fit crop"
            )
        height, width = next(iter(sizes))
        if max(height, width) > _MOST_PIXELS:
            raise UserError(
                f"the pictures in {pictures.place} have {height}x{width} pixels, more than "
                f"{_MOST_PIXELS} on a side: make them smaller, such as with --size 64 --fit crop"
            )
        return height, width
    height, width = reading.size[0], reading.size[-1]
    others = Counter(
        {size: n for size, n in sizes.items() if not same_proportions(*size, height, width)}
    )
    if others and reading.fit is None:
        flag = " ".join(map(str, reading.size))
        raise UserError(
            f"{others.total():,} of {sizes.total():,} pictures in {pictures.place} have other "
            f"proportions than {height}x{width} (height x width): {_most_common(others)}: say how "
            f"they get it with --size {flag} --fit crop, or pad or stretch"
        )
    return height, width


def _most_common(sizes: Counter[tuple[int, int]]) -> str:
    """Returns a text of the three most common sizes, and the number of other pictures."""
    common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:3]
    rest = sizes.total() - sum(count for _, count in common)
    parts = [f"{count:,} of {height}x{width}" for (height, width), count in common]
    return ", ".join([*parts, f"{rest:,} of others"] if rest else parts)


def _default_channels(pictures: PictureSet) -> Literal[1, 3]:
    """Returns 1 if all pictures are stored as gray or with a palette of grays, else 3.

    A picture stored in color counts as one, whatever its pixels are: they are not decoded yet.
    """
    kinds = {name: header.gray for name, header in pictures.headers.items()}
    if False in kinds.values():
        return 3
    palettes = [name for name, gray in kinds.items() if gray is None]
    attempt = partial(_attempt, has_gray_palette, pictures.source)
    with parallel.open_bar(len(palettes), "reading palettes") as bar:
        for _, results in parallel.map_in_threads(attempt, palettes, _HEADERS_AT_ONCE, bar):
            if False in results:  # errors come again when the pictures are decoded
                return 3
    return 1


def read_headers(
    name: str,
    place: str,
    source: Callable[[str], Source],
    pictures: Sequence[str],
    problems: Mapping[str, str],
) -> PictureSet:
    """Reads the headers of the pictures with these names, in parallel.

    `problems` has the reasons for others, which are known to be unreadable.
    """
    headers: dict[str, Header] = {}
    found = dict(problems)
    attempt = partial(_attempt, read_header, source)
    with parallel.open_bar(len(pictures), "reading headers") as bar:
        for start, results in parallel.map_in_threads(attempt, pictures, _HEADERS_AT_ONCE, bar):
            for n, result in enumerate(results, start):
                if isinstance(result, UnreadableError):
                    found[pictures[n]] = str(result)
                else:
                    headers[pictures[n]] = result
    return PictureSet(name, place, source, headers, found)


def _read(
    pictures: PictureSet, splits: Mapping[str, Sequence[str]], target: Target, skip: bool
) -> Iterator[Piece]:
    """Decodes all pictures in parallel, and yields those of each split in order.

    Raises `UserError` at the end if a file was unreadable, unless they are skipped, and if a split
    is left without pictures.
    """
    problems = dict(pictures.problems)
    transparent = 0
    total = sum(map(len, splits.values()))
    if total >= parallel.MANY and not sys.stderr.isatty():
        _say(f"decoding {total:,} pictures of {pictures.name} ...")
    attempt = partial(_attempt, partial(decode, target=target), pictures.source)
    few = _BYTES_AT_ONCE // (target.height * target.width * target.channels)
    at_once = min(max(few, 2 * parallel.count_decoders()), 1000)  # enough for all threads
    with parallel.open_bar(total, "decoding") as bar:
        for split, names in splits.items():
            for start, results in parallel.map_in_threads(attempt, names, at_once, bar):
                found = list(enumerate(results, start))
                problems |= {names[n]: str(r) for n, r in found if isinstance(r, UnreadableError)}
                decoded = {n: r for n, r in found if isinstance(r, Decoded)}
                transparent += sum(picture.transparent for picture in decoded.values())
                if decoded:
                    pixels = np.stack([picture.pixels for picture in decoded.values()])
                    yield Piece(split, np.array(list(decoded)), pixels)
    if transparent:
        other = "black" if target.background == "white" else "white"
        _say(
            f"{transparent:,} of {total:,} pictures have transparent pixels, drawn over "
            f"{target.background} (--background {other} for {other})"
        )
    _check_problems(pictures.place, splits, problems, skip)


def _check_problems(
    place: str, splits: Mapping[str, Sequence[str]], problems: Mapping[str, str], skip: bool
) -> None:
    """Lists the unreadable files on stderr if they are skipped; else raises `UserError`."""
    if not problems:
        return
    total = len(set().union(problems, *splits.values()))
    found = f"{len(problems):,} of {total:,} files in {place}"
    listed = list_problems(problems)
    if not skip:
        raise UserError(
            f"{found} cannot be read as pictures: {listed}: repair or remove them, or leave them "
            "out with --skip-unreadable"
        )
    for split, names in splits.items():
        if all(name in problems for name in names):
            raise UserError(f"no picture of {split} in {place} can be read: {listed}: repair them")
    _say(f"left out {found}: {listed}")


def list_problems(problems: Mapping[str, str]) -> str:
    """Returns a text of the first five unreadable files and their reasons, and how many more."""
    first = [f"{printable(name) or '.'} ({problems[name]})" for name in sorted(problems)[:5]]
    more = len(problems) - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more else "")


def _attempt(
    function: Callable[[Source], _Result], source: Callable[[str], Source], name: str
) -> _Result | UnreadableError:
    """Returns a function's result for a picture, or its error as a value."""
    try:
        return function(source(name))
    except UnreadableError as error:
        return error


def _say(line: str) -> None:
    print(f"jaxae: {line}", file=sys.stderr)
