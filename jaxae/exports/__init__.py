"""Exports: trained runs as folders to share, in formats that load with or without jaxae."""

from jaxae.exports.command import Options, export_run, start
from jaxae.exports.contents import FORMATS, Contents, Format, is_export
from jaxae.exports.hub import PREFIX, fetch
from jaxae.exports.reading import read_export
from jaxae.exports.signature import Input

__all__ = [
    "FORMATS",
    "PREFIX",
    "Contents",
    "Format",
    "Input",
    "Options",
    "export_run",
    "fetch",
    "is_export",
    "read_export",
    "start",
]
