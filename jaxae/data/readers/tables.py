"""Reads a user's own table of numbers, a .csv or .tsv file with a header, as vectors."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np

from jaxae.data.readers.labels import index_classes
from jaxae.data.readers.numbers import Survey, check_float32, make_scaling, to_float32
from jaxae.data.reading import Opened, Piece, Reader, Reading, list_names
from jaxae.data.splits import Division, divide_by_index
from jaxae.errors import UserError, may_pass, unreadable
from jaxae.files import shorten

_DELIMITERS = (",", ";", "\t")
_ROWS_TO_SNIFF = 20
_MOST_CHARACTERS = 2**24  # of a line
_CELLS_AT_ONCE = 2**16
_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")  # in any case
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_NUMBER_WITH_COMMAS = re.compile(r"\s*[-+]?\d*(,\d+)+\s*")


@dataclass(frozen=True)
class _Table:
    """A table whose header is read.

    Attributes:
      columns: the names of all columns.
      label: the position of the column that holds the labels, or None.
    """

    path: Path
    delimiter: str
    columns: tuple[str, ...]
    label: int | None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the columns that are read as numbers."""
        return tuple(self._without_label(list(self.columns)))

    def labels(self) -> Iterator[np.ndarray]:
        """Yields the texts in the label column in chunks [n]; zeros without one."""
        for _, rows in self._chunks():
            texts = [row[self.label].strip() if self.label is not None else 0 for row in rows]
            yield np.array(texts, object)

    def vectors(self) -> Iterator[np.ndarray]:
        """Yields the other columns in chunks, float32 [n, D].

        Raises `UserError` at once for text, and at the end for missing and infinite values.
        """
        survey, start, first_line = Survey(), 0, 0
        for lines, rows in self._chunks():
            values = self._parse(lines, [self._without_label(row) for row in rows])
            clean = not survey.bad
            survey.add(start, values)
            if clean and survey.bad:
                first_line = lines[survey.first_bad[0] - start]
            start += len(values)
            yield to_float32(values)
        if survey.bad:
            column = self.numbers[survey.first_bad[1]]
            raise UserError(
                f"{self.path} holds {survey.bad} missing or infinite values, the first in column "
                f"{shorten(column)} on line {first_line}: fill them in, or remove those rows or "
                "columns"
            )
        check_float32(survey.low, survey.high, str(self.path))

    def _without_label(self, row: list[str]) -> list[str]:
        return row if self.label is None else row[: self.label] + row[self.label + 1 :]

    def _chunks(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yields the numbers of the lines of some rows, and the rows.

        Raises `UserError` for a row with another number of fields than the header.
        """
        at_once = max(1, _CELLS_AT_ONCE // len(self.columns))
        with _opened(self.path) as stream:
            rows = _rows(stream, self.path, self.delimiter)
            next(rows)  # the header
            while chunk := list(islice(rows, at_once)):
                for line, row in chunk:
                    if len(row) != len(self.columns):
                        raise UserError(
                            f"line {line} of {self.path} has {len(row)} fields, but the header "
                            f"names {len(self.columns)} columns: make them equal, and put fields "
                            f"that contain {_name(self.delimiter)} in double quotes"
                        )
                yield [line for line, _ in chunk], [row for _, row in chunk]

    def _parse(self, lines: list[int], rows: list[list[str]]) -> np.ndarray:
        """Returns the numbers in rows, float64 [n, D], NaN where one is missing."""
        shape = (len(rows), len(self.numbers))
        try:
            flat = np.fromiter(map(float, chain.from_iterable(rows)), float, shape[0] * shape[1])
            return flat.reshape(shape)
        except ValueError:
            pass
        texts: dict[str, tuple[int, str]] = {}  # of each column the first, and its line
        values = np.full(shape, np.nan)
        for index, (line, row) in enumerate(zip(lines, rows, strict=True)):
            for position, (column, cell) in enumerate(zip(self.numbers, row, strict=True)):
                try:
                    values[index, position] = float(cell)
                except ValueError:
                    if cell.strip().casefold() not in _MISSING:
                        texts.setdefault(column, (line, cell))
        if texts:
            raise self._holds_text(texts)
        return values

    def _holds_text(self, texts: dict[str, tuple[int, str]]) -> UserError:
        column, (line, cell) = next(iter(texts.items()))
        found = f"{shorten(cell)} in column {shorten(column)} on line {line} of {self.path}"
        if _NUMBER_WITH_COMMAS.fullmatch(cell):
            return UserError(
                f"{found} has a comma: write numbers with a decimal point, and without separators "
                "of thousands"
            )
        remedy = f"remove the columns that hold text ({list_names(list(texts))})"
        if self.label is None:
            remedy = f"give --label {column} if it holds the classes, else {remedy}"
        return UserError(f"{found} is not a number: {remedy}")


def _open(path: Path, reading: Reading) -> Opened:
    """Opens a table: reads its header, counts its rows, and reads its labels.

    The file is UTF-8, its columns are separated by commas, semicolons or tabs, and blank lines are
    skipped. Columns become vectors float32 [N, D], which are standardized by default. Raises
    `UserError` if the file is not such a table; cells are checked only when they are read.
    """
    reading.check_only(("scale", "label"), "tables")
    delimiter = _sniff(path)
    columns = _header(path, delimiter)
    table = _Table(path, delimiter, columns, _label(path, columns, reading.label))
    values, class_names = index_classes(
        {"all": table.labels()}, f"the labels in column {shorten(reading.label)} of {path}"
    )
    division = divide_by_index(len(values["all"]), str(path))
    labeled = reading.label is not None
    return Opened(
        shape=(len(table.numbers),),
        dtype=np.dtype(np.float32),
        counts=division.counts,
        labels=division.divide(values["all"]) if labeled else None,
        class_names=class_names if labeled else (),
        read=partial(_read, table, division),
        scaling=make_scaling(reading.scale or "standardize", str(path)),
    )


TABLES = Reader(files=lambda path: [path], open=_open)


def _read(table: _Table, division: Division) -> Iterator[Piece]:
    start = 0
    for chunk in table.vectors():
        if start + len(chunk) > len(division.held):
            break
        yield from division.pieces(start, chunk)
        start += len(chunk)
    if start != len(division.held):
        raise UserError(f"{table.path} has changed while it was read: try again")


def _label(path: Path, columns: tuple[str, ...], label: str | None) -> int | None:
    """Returns the position of the label column; None if none was given."""
    if label is None:
        return None
    if label not in columns:
        raise UserError(
            f"{path} has no column {shorten(label)} for --label: give one of {list_names(columns)}"
        )
    if len(columns) == 1:
        raise UserError(f"{path} has no column beside {shorten(label)}: add columns of numbers")
    return columns.index(label)


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    """Returns the names of the columns; raises `UserError` unless each has its own."""
    with _opened(path) as stream:
        _, first = next(_rows(stream, path, delimiter), (0, []))
    columns = tuple(name.strip() for name in first)
    if not any(columns):
        raise UserError(f"{path} is empty: give a table with a header and rows of numbers")
    counted = [tuple(str(n + first) for n in range(len(columns))) for first in (0, 1)]
    if columns not in counted and _are_numbers(columns):
        raise UserError(
            f"the first line of {path} holds numbers ({list_names(columns)}), but must name the "
            "columns: add a header"
        )
    for position, name in enumerate(columns):
        if not name:
            raise UserError(
                f"column {position + 1} of {path} has no name: name it in the first line, or "
                "remove it (pandas writes no index with to_csv(index=False))"
            )
        if name in columns[:position]:
            raise UserError(f"{path} has two columns {shorten(name)}: rename or remove one")
    return columns


def _are_numbers(columns: tuple[str, ...]) -> bool:
    """Returns whether these are all numbers, or some have fractions, unlike names such as years."""
    numbers = [column for column in columns if _NUMBER.fullmatch(column)]
    return len(numbers) == len(columns) or any("." in number for number in numbers)


def _sniff(path: Path) -> str:
    """Returns the delimiter that cuts the first rows into the same number of columns, two or more.

    If none does, it is the one that cuts the rows below the header into the most, because the name
    of a column may contain any delimiter.
    """
    ranks = {}
    for delimiter in _DELIMITERS:
        widths, whole = [], False
        with _opened(path) as stream, contextlib.suppress(UserError):
            for _, row in islice(_rows(stream, path, delimiter), _ROWS_TO_SNIFF):
                widths.append(len(row))
            whole = True
        even = whole and len(set(widths)) == 1
        ranks[delimiter] = (even and widths[0] > 1, max(widths[1:], default=0), even)
    return max(_DELIMITERS, key=lambda delimiter: ranks[delimiter])


def _name(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab"}[delimiter]


def _rows(stream: TextIO, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the fields of each row that is not blank, and the number of the line that it ends on.

    Raises `UserError` if quotes do not match, or a line or field has no end.
    """
    reader = csv.reader(
        _lines(stream, path), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"line {reader.line_num} of {path} cannot be split into fields ({error}): close each "
            "double quote, and write a quote within quotes twice"
        ) from None


def _lines(stream: TextIO, path: Path) -> Iterator[str]:
    """Yields lines; raises `UserError` for one of millions of characters, to bound memory."""
    while line := stream.readline(_MOST_CHARACTERS):
        if len(line) == _MOST_CHARACTERS:
            raise UserError(
                f"{path} has a line of {_MOST_CHARACTERS} characters or more: give a table with a "
                "line for each example"
            )
        yield line


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Opens a table; turns errors of the file into `UserError`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte 0x{error.object[error.start]:02x} is not): save the "
            "table as CSV in UTF-8"
        ) from None
    except FileNotFoundError:
        raise UserError(f"there is no file {path}: give the path of a .csv or .tsv file") from None
    except (OSError, MemoryError) as error:
        if may_pass(error):
            raise unreadable(path, error) from None
        raise UserError(f"{path} is not a file ({error}): give a .csv or .tsv file") from None
