"""A comparison as text: for a terminal, Markdown, CSV, and LaTeX with booktabs."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxae.comparison.table import Comparison
from jaxae.pages import markdown_table


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    best: bool = False


def render(comparison: Comparison, format: str) -> str:
    """Returns a comparison in one of `FORMATS`, without a newline at its end."""
    return FORMATS[format](comparison)


def _cells(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Returns the head and the rows of the table."""
    seeds = [str(max(map(len, row.values.values()), default=0)) for row in comparison.rows]
    head = ["run", *comparison.options, "seeds", *comparison.figures]
    best = [comparison.best(figure) for figure in comparison.figures]
    rows = []
    for number, row in enumerate(comparison.rows):
        name = row.folders[0].as_posix()
        if len(row.folders) > 1:
            name += f" and {len(row.folders) - 1} more"
        cells = [Cell(name), *(Cell(row.options[option]) for option in comparison.options)]
        cells.append(Cell(seeds[number]))
        cells += [
            Cell(row.text(figure), number in best[place])
            for place, figure in enumerate(comparison.figures)
        ]
        if comparison.probabilities is not None:
            probability = comparison.probabilities.get(number)
            cells.append(Cell("-" if probability is None else f"{probability:.2g}"))
        rows.append(cells)
    if comparison.probabilities is not None:
        head.append(f"p of {comparison.tested}")
    return head, rows


def as_text(comparison: Comparison) -> str:
    """Returns aligned columns; the best figures have an asterisk."""
    head, rows = _cells(comparison)
    head = [title.replace("_", " ") for title in head]
    lines = [head, *([f"{c.text}*" if c.best else c.text for c in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = 1 + len(comparison.options)  # the columns that are flush left

    def line(cells: Sequence[str]) -> str:
        placed = (
            cell.ljust(width) if n < words else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(placed).rstrip()

    return "\n".join(map(line, lines))


def as_markdown(comparison: Comparison) -> str:
    """Returns a Markdown table; the best figures are bold."""
    head, rows = _cells(comparison)
    texts = [[f"**{c.text}**" if c.best else c.text for c in row] for row in rows]
    return markdown_table([title.replace("_", " ") for title in head], texts)


def as_csv(comparison: Comparison) -> str:
    """Returns comma-separated values: the mean of each figure, and its deviation in NAME_std."""
    head = ["run", *comparison.options, "seeds"]
    for figure in comparison.figures:
        head += [figure, f"{figure}_std"]
    if comparison.probabilities is not None:
        head.append(f"p_{comparison.tested}")
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(head)
    _, cells = _cells(comparison)
    for number, (row, shown) in enumerate(zip(comparison.rows, cells, strict=True)):
        line = [row.folders[0].as_posix(), *(row.options[name] for name in comparison.options)]
        line.append(shown[1 + len(comparison.options)].text)
        for figure in comparison.figures:
            line += [_number(row.mean(figure)), _number(row.deviation(figure))]
        if comparison.probabilities is not None:
            line.append(_number(comparison.probabilities.get(number, math.nan)))
        writer.writerow(line)
    return written.getvalue().rstrip("\n")


def _number(value: float) -> str:
    """Returns a number with all its digits; nothing if it is not finite."""
    return repr(value) if math.isfinite(value) else ""


def as_latex(comparison: Comparison) -> str:
    """Returns a tabular of the package booktabs; the best figures are bold."""
    head, rows = _cells(comparison)
    words = 1 + len(comparison.options)
    titles = [_escape(title.replace("_", " ")) for title in head]
    lines = [f"\\begin{{tabular}}{{{'l' * words}{'r' * (len(head) - words)}}}", "\\toprule"]
    lines += [" & ".join(titles) + " \\\\", "\\midrule"]
    for row in rows:
        shown = [_escape(cell.text) if n < words else _math(cell) for n, cell in enumerate(row)]
        lines.append(" & ".join(shown) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _math(cell: Cell) -> str:
    """Returns a number as LaTeX."""
    if cell.text == "-":
        return "--"
    number = cell.text.replace("±", "\\pm").replace(",", "{,}")
    return f"$\\mathbf{{{number}}}$" if cell.best else f"${number}$"


_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _escape(text: str) -> str:
    """Returns text as LaTeX."""
    return "".join(_SPECIAL.get(character, character) for character in text)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
}
