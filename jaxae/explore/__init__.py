"""A page that explores the codes of a run: it decodes in the browser, offline, as one file."""

from jaxae.explore.command import Options, explore_run, start
from jaxae.explore.exploration import MOST_IMAGES, Exploration, explore
from jaxae.explore.page import SavedPage, render

__all__ = [
    "MOST_IMAGES",
    "Exploration",
    "Options",
    "SavedPage",
    "explore",
    "explore_run",
    "render",
    "start",
]
