"""A run in a few lines of HTML, for notebooks."""

from collections.abc import Sequence
from html import escape

from jaxae.pages.drawing import draw_picture
from jaxae.pages.page import Picture


def render_summary(
    title: str, figures: Sequence[tuple[str, str]], pictures: Sequence[Picture]
) -> str:
    """Returns a title, pictures with their captions, and a table of named figures as HTML.

    It stands alone: pictures are data URLs, and the look is that of the page around it.
    """
    parts = [f"<h4>{escape(title)}</h4>"]
    for drawn in map(draw_picture, pictures):
        caption = escape(drawn["caption"], quote=True)
        parts.append(
            f'<figure style="margin: 0 0 1em"><img src="{drawn["url"]}" alt="{caption}" '
            f'width="{drawn["width"]}" height="{drawn["height"]}" '
            'style="image-rendering: pixelated; max-width: 100%; object-fit: contain">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    rows = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td>{escape(figure)}</td></tr>'
        for name, figure in figures
    )
    if rows:
        parts.append(f"<table>{rows}</table>")
    return f"<div>{''.join(parts)}</div>"
