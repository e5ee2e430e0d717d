"""Pages of figures and pictures: self-contained HTML, and sections of a Markdown file."""

from jaxae.pages.html import render
from jaxae.pages.markdown import put_section, rewrite, sections_of, with_section
from jaxae.pages.page import Chart, Gallery, Page, Picture, Row, Scatter, Table

__all__ = [
    "Chart",
    "Gallery",
    "Page",
    "Picture",
    "Row",
    "Scatter",
    "Table",
    "put_section",
    "render",
    "rewrite",
    "sections_of",
    "with_section",
]
