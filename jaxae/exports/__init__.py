"""Exports: trained runs as folders to share, in formats that load with or without jaxae."""

from jaxae.exports.command import Options, export_run, start
from jaxae.exports.contents import Contents, Format, is_export
from jaxae.exports.hub import PREFIX, fetch, is_name
from jaxae.exports.reading import read_export
from jaxae.exports.signature import Input

__all__ = [
    "PREFIX",
    "Contents",
    "Format",
    "Input",
    "Options",
    "export_run",
    "fetch",
    "is_export",
    "is_name",
    "read_export",
    "start",
]
