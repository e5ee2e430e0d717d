"""A comparison as text: for a terminal, Markdown, CSV, and LaTeX with booktabs."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxae import runs
from jaxae.comparison.rows import Comparison
from jaxae.pages import markdown_table


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    best: bool = False


def render(comparison: Comparison, format: str) -> str:
    """Returns a comparison as text, markdown, csv or latex, without a newline at its end."""
    return _FORMATS[format](comparison)


def cells_of(comparison: Comparison) -> tuple[list[str], list[list[Cell]]]:
    """Returns the head and the rows of the table."""
    seeds = [str(row.seed_count) for row in comparison.rows]
    head = ["run", *comparison.options, "seeds", *comparison.figures]
    best = [comparison.best(figure) for figure in comparison.figures]
    rows = []
    for number, row in enumerate(comparison.rows):
        options = [row.options[option] for option in comparison.options]
        cells = [Cell(text) for text in (comparison.names[number], *options, seeds[number])]
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


def _as_text(comparison: Comparison) -> str:
    """Returns aligned columns; the best figures have an asterisk."""
    head, rows = cells_of(comparison)
    head = list(map(runs.spell_out, head))
    rows_of_text = [[f"{c.text}*" if c.best else c.text for c in row] for row in rows]
    return aligned([head, *rows_of_text], left=1 + len(comparison.options))


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """Returns lines of cells in columns, the first `left` of them flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def place(number: int, cell: str) -> str:
        width = widths[number]
        return cell.ljust(width) if number < left else cell.rjust(width)

    return "\n".join(
        "  ".join(place(number, cell) for number, cell in enumerate(line)).rstrip()
        for line in lines
    )


def _as_markdown(comparison: Comparison) -> str:
    """Returns a Markdown table; the best figures are bold."""
    head, rows = cells_of(comparison)
    texts = [[f"**{c.text}**" if c.best else c.text for c in row] for row in rows]
    return markdown_table(list(map(runs.spell_out, head)), texts)


def _as_csv(comparison: Comparison) -> str:
    """Returns comma-separated values: the mean of each figure, and its deviation in NAME_std."""
    head = ["run", *comparison.options, "seeds"]
    for figure in comparison.figures:
        head += [figure, f"{figure}_std"]
    if comparison.probabilities is not None:
        head.append(f"p_{comparison.tested}")
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(head)
    _, cells = cells_of(comparison)
    for number, (row, shown) in enumerate(zip(comparison.rows, cells, strict=True)):
        line = [row.runs[0].folder.as_posix(), *(row.options[name] for name in comparison.options)]
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


def _as_latex(comparison: Comparison) -> str:
    """Returns a tabular of the package booktabs; the best figures are bold."""
    head, rows = cells_of(comparison)
    words = 1 + len(comparison.options)
    titles = [_escape(runs.spell_out(title)) for title in head]
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


_FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": _as_text,
    "markdown": _as_markdown,
    "csv": _as_csv,
    "latex": _as_latex,
}
