"""A page as one self-contained HTML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxae.errors import UserError
from jaxae.pages.drawing import class_colors, draw_chart, draw_picture, draw_scatter
from jaxae.pages.page import Page


def render(page: Page) -> str:
    """Returns the page as HTML that loads no other file; JavaScript serves only the scatter.

    Raises `UserError` if a scatter's arrays do not fit together.
    """
    names = list(dict.fromkeys(name for chart in page.charts for name in chart.curves))
    colors = dict(zip(names, class_colors(len(names)), strict=True))
    return fill_template(
        Path(__file__).parent,
        {
            "page": page,
            "charts": [
                chart for chart in (draw_chart(c, colors) for c in page.charts) if chart["curves"]
            ],
            "galleries": [
                {
                    "title": g.title,
                    "text": g.text,
                    "pictures": [draw_picture(p) for p in g.pictures],
                }
                for g in page.galleries
            ],
            "scatter": page.scatter and draw_scatter(page.scatter),
        },
    )


def check_page(flag: str, path: Path) -> None:
    """Raises `UserError` unless a flag's value can be the file of an HTML page, by its name."""
    if path.is_dir():
        raise UserError(f"{flag} {path} is a folder: give the file to write")
    if path.suffix not in (".html", ".htm"):
        raise UserError(f"{flag} {path}: give a name that ends in .html")


def fill_template(folder: Path, values: Mapping[str, Any]) -> str:
    """Returns a folder's template.html with values in it, escaped; a missing value is an error.

    The template may extend base.html, and include style.css, which are beside this file.
    """
    import jinja2  # slow to import, and needed only here

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("template.html").render(values)
