"""The tables of what bounds the dense recipe, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxae.pages import markdown_table
from speed_load import QUIET
from speed_records import Floor
from speed_tables import HALF, NOTHING, OURS, PYTORCH, number

_SIDES = (OURS, PYTORCH)

_NOTE = """\
Each part of a step of fashion alone, batch 512, repeated in one program in jaxae, and in PyTorch
without compilation. In a step, XLA fuses some parts with others; PyTorch's whole step is the one
with the fused Adam. Milliseconds by the number of threads:"""

_PRODUCTS = "The matrix products, each at its own shape, with {threads}:"


def floor_sections(floor: Floor) -> list[str]:
    """Returns the sections on what bounds the dense recipe."""
    load = ""
    if floor.others is not None and floor.others > QUIET:
        load = f" Other processes used {floor.others:.0%} of the cores meanwhile."
    most = max(floor.threads, key=int)
    return [
        "## What bounds fashion",
        f"{_NOTE}{load}",
        _parts_table(floor.threads),
        _PRODUCTS.format(threads=_threads(most)),
        _products_table(floor.threads[most]),
    ]


def _parts_table(threads: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Formats the parts, their sum and the whole step, for each number of threads."""
    head = ["", *(f"{side}, {_threads(count)}" for count in threads for side in _SIDES)]
    names = [row["what"] for row in next(iter(threads.values())) if "flops" not in row]
    labels = ["matrix products", *names[:-1], "all of these", names[-1], "whole step / products"]
    columns = [_column(rows, side) for rows in threads.values() for side in _SIDES]
    return markdown_table(head, list(zip(labels, *columns, strict=True)))


def _column(rows: Sequence[Mapping[str, Any]], side: str) -> list[str]:
    """Returns the cells of a side: products, other parts, their sum, whole step, a ratio."""
    other = [row[side] for row in rows if "flops" not in row and side in row]
    if not other:  # PyTorch is not installed
        return [NOTHING] * (3 + sum("flops" not in row for row in rows))
    products = sum(row[side] for row in rows if "flops" in row)
    *parts, whole = other
    return [
        number(value)
        for value in (products, *parts, products + sum(parts), whole, whole / products)
    ]


def _products_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats milliseconds and rate of each product."""
    products = [row for row in rows if "flops" in row]
    sides = [*_SIDES, *(side + HALF for side in _SIDES)]
    head = ["", *(f"{side}, ms" for side in _SIDES), *(f"{side}, GFLOP/s" for side in sides)]
    return markdown_table(head, [[row["what"], *_product_cells(row, sides)] for row in products])


def _product_cells(row: Mapping[str, Any], sides: Sequence[str]) -> list[str]:
    """Returns the cells of a product: its milliseconds in float32, and its rates."""
    times = [number(row[side]) if side in row else NOTHING for side in _SIDES]
    rates = [number(row["flops"] / row[side] / 1e6) if side in row else NOTHING for side in sides]
    return [*times, *rates]


def _threads(count: str) -> str:
    """Returns a number of threads in words."""
    return "1 thread" if count == "1" else f"{count} threads"
