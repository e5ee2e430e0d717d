"""The page of a comparison: its table, curves, plot and reconstructions as one HTML file."""

import base64
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from jaxae import pages, runs
from jaxae.comparison.curves import Curves
from jaxae.comparison.formats import cells_of
from jaxae.comparison.listing import Listed
from jaxae.comparison.reconstructions import Reconstructions
from jaxae.comparison.rows import DIRECTIONS, Comparison, Row
from jaxae.plots import LINE_COLORS, Drawing

_DASHES = ("none", "7 4", "2 4", "10 4 2 4", "10 3 2 3 2 3")  # of the first six rows, and so on
_PAGES = {"report.html": "report", "explore.html": "explorer"}


def render_page(
    comparison: Comparison,
    place: Path,
    curves: Sequence[Curves],
    groups: Sequence[Reconstructions],
    notes: Sequence[str] = (),
    plot: tuple[str, Drawing] | None = None,
) -> str:
    """Returns the page as HTML that loads no other file.

    Args:
      comparison: its rows and columns.
      place: the page's own path, which the addresses of runs' pages are relative to.
      curves: the figures over epochs that can be chosen.
      groups: the reconstructions of each dataset.
      notes: sentences about what has no reconstructions.
      plot: a title and a drawing.
    """
    content = json.dumps(_content(comparison, curves), separators=(",", ":"), allow_nan=False)
    count = sum(len(row.runs) for row in comparison.rows)
    return pages.fill_template(
        Path(__file__).parent,
        {
            "title": f"Comparison of {count} run{'' if count == 1 else 's'}",
            "folder": comparison.folder.as_posix(),
            "differing": _listed([runs.spell_out(option) for option in comparison.options]),
            "shared": {runs.spell_out(name): value for name, value in comparison.shared.items()},
            "head": _head(comparison),
            "rows": _rows(comparison, place),
            "tested": comparison.tested and runs.spell_out(comparison.tested),
            "curves": [runs.spell_out(each.figure) for each in curves],
            "losses_differ": len({row.compared_with for row in comparison.rows}) > 1,
            # In a script, "<" could end the element.
            "content": content.replace("<", "\\u003c"),
            "groups": [_describe_group(comparison, group) for group in groups],
            "notes": notes,
            "plot": plot and {"title": plot[0], "url": _svg_url(plot[1])},
        },
    )


def _listed(words: Sequence[str]) -> str:
    """Returns words with commas between them, and "and" before the last."""
    *first, last = words or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _style(row: int) -> dict[str, str]:
    """Returns the color and the dashes of a row's line."""
    count = len(LINE_COLORS)
    return {"color": LINE_COLORS[row % count], "dash": _DASHES[row // count % len(_DASHES)]}


def _content(comparison: Comparison, curves: Sequence[Curves]) -> dict[str, Any]:
    """Returns what the page's script reads, as JSON."""
    return {
        "rows": [
            {"label": label, **_style(number), "diverged": "diverged" in _states(row)}
            for number, (label, row) in enumerate(
                zip(comparison.labels, comparison.rows, strict=True)
            )
        ],
        "figures": [
            {
                "name": runs.spell_out(each.figure),
                "curves": [
                    {
                        "epochs": curve.epochs.tolist(),
                        "means": _rounded(curve.means),
                        "deviations": None
                        if curve.deviations is None
                        else _rounded(curve.deviations),
                    }
                    for curve in each.by_row
                ],
            }
            for each in curves
        ],
    }


def _rounded(values: np.ndarray) -> list[float]:
    """Returns numbers to six significant digits, more than a chart or its tooltip shows."""
    return [float(f"{value:.6g}") for value in values]


def _head(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns the titles of the table's columns, with the direction in which a figure is better."""
    titles, _ = cells_of(comparison)
    words = 1 + len(comparison.options)
    arrows = {1: " ↑", -1: " ↓"}
    return [
        {
            "text": runs.spell_out(title)
            + (arrows.get(DIRECTIONS.get(title, 0), "") if number > words else ""),
            "is_number": number >= words,
        }
        for number, title in enumerate(titles)
    ]


def _rows(comparison: Comparison, place: Path) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    _, cells = cells_of(comparison)
    return [
        {
            **_style(number),
            "name": comparison.names[number],
            "label": label,
            "cells": each[1:],
            "state": _describe_states(row),
            "runs": [
                {"name": comparison.place_of(run), "links": _links(run, place)} for run in row.runs
            ],
        }
        for number, (row, label, each) in enumerate(
            zip(comparison.rows, comparison.labels, cells, strict=True)
        )
    ]


def _states(row: Row) -> list[str]:
    """Returns the states of a row's runs that are not finished as planned."""
    return [run.state for run in row.runs if run.state != "finished"]


def _describe_states(row: Row) -> str:
    """Returns the states of a row's runs in words; nothing if all are finished."""
    run, *others = row.runs
    if others:
        return ", ".join(f"{count} {state}" for state, count in Counter(_states(row)).items())
    if run.state in ("finished", "diverged"):
        return "diverged" if run.state == "diverged" else ""
    return f"{run.state}, {run.epochs} of {run.config.options.run.epochs} epochs"


def _links(run: Listed, place: Path) -> list[tuple[str, str]]:
    """Returns the text and the relative address of each page of a run that exists."""
    return [
        (text, quote(Path(os.path.relpath(run.folder / name, place.parent)).as_posix()))
        for name, text in _PAGES.items()
        if (run.folder / name).exists()
    ]


def _describe_group(comparison: Comparison, group: Reconstructions) -> dict[str, Any]:
    """Returns the pictures of a dataset, as the template reads them."""
    return {
        "title": group.title,
        "originals": pages.draw_picture(group.originals),
        "strips": [
            {**pages.draw_picture(picture), **_style(row), "label": comparison.labels[row]}
            for row, picture in group.by_row.items()
        ],
    }


def _svg_url(drawing: Drawing) -> str:
    """Returns a drawing as a data URL."""
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.svg.encode()).decode()}"
