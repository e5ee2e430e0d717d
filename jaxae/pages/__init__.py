"""Pages of figures and pictures: self-contained HTML, plain text, and sections of Markdown."""

from jaxae.pages.drawing import class_colors, data_url, draw_picture, shrink
from jaxae.pages.html import check_page, fill_template, render
from jaxae.pages.markdown import markdown_table, put_section, rewrite, sections_of, with_section
from jaxae.pages.page import Chart, Gallery, Page, Picture, Row, Scatter, Table
from jaxae.pages.summary import render_summary
from jaxae.pages.text import as_text

__all__ = [
    "Chart",
    "Gallery",
    "Page",
    "Picture",
    "Row",
    "Scatter",
    "Table",
    "as_text",
    "check_page",
    "class_colors",
    "data_url",
    "draw_picture",
    "fill_template",
    "markdown_table",
    "put_section",
    "render",
    "render_summary",
    "rewrite",
    "sections_of",
    "shrink",
    "with_section",
]
