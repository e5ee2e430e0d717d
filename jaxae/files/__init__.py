"""Files on disk: atomic writes, JSON that is checked on reading, and the user's folders."""

from jaxae.files.home import cache_folder, settle_matplotlib, user_folder
from jaxae.files.json import decode_json, encode_json, read_json, unfit
from jaxae.files.typed import Count, Index, Least, Most, Quoted, convert, shorten
from jaxae.files.writing import whole, write_json, write_text, write_whole

__all__ = [
    "Count",
    "Index",
    "Least",
    "Most",
    "Quoted",
    "cache_folder",
    "convert",
    "decode_json",
    "encode_json",
    "read_json",
    "settle_matplotlib",
    "shorten",
    "unfit",
    "user_folder",
    "whole",
    "write_json",
    "write_text",
    "write_whole",
]
