"""Tables as plain text, for a terminal."""

from collections.abc import Sequence

from jaxae.pages.page import Table


def as_text(tables: Sequence[Table]) -> str:
    """Returns tables as lines of text: a title, and rows with aligned cells.

    All tables have the same width for the names of rows. Explanations are at the ends of the lines.
    """
    width = max((len(row.name) for table in tables for row in table.rows), default=0)
    return "\n\n".join(_as_text(table, width) for table in tables)


def _as_text(table: Table, width: int) -> str:
    """Returns a table as lines of text, whose first column has a width."""
    lines = [row.cells for row in table.rows]
    if any(table.head):
        lines.append(table.head)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head = [table.title.ljust(width + 2), *map(str.rjust, table.head, widths)]
    rows = [
        [f"  {row.name.ljust(width)}", *map(str.rjust, row.cells, widths), row.explanation]
        for row in table.rows
    ]
    return "\n".join("   ".join(cells).rstrip() for cells in (head, *rows))
