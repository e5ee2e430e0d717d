"""Folders for a user's files, with or without a home."""

import contextlib
import functools
import os
import stat
import tempfile
from pathlib import Path


def user_folder() -> Path:
    """Returns the user's home, or a temporary folder if there is none, as in a container.

    Only the user can write to that folder; in a shared one, others could plant programs.
    """
    with contextlib.suppress(RuntimeError):
        return Path.home()
    if not hasattr(os, "getuid"):  # on Windows
        return _temporary()
    place = Path(tempfile.gettempdir()) / f"jaxae-{os.getuid()}"
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700)
    with contextlib.suppress(OSError):
        found = place.lstat()
        owned = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if owned and not found.st_mode & 0o077:
            return place
    return _temporary()


@functools.cache
def _temporary() -> Path:
    """Creates a temporary folder for this process alone."""
    return Path(tempfile.mkdtemp(prefix="jaxae-"))


def cache_folder() -> Path:
    """Returns the folder for results that are computed once for each user."""
    from platformdirs import user_cache_path

    with contextlib.suppress(RuntimeError):
        place = user_cache_path("jaxae")
        if place.is_absolute():  # some releases keep the ~ if there is no home
            return place
    return user_folder() / "cache"


def settle_matplotlib() -> None:
    """Gives Matplotlib a folder for its fonts if there is no home, to avoid a warning.

    Call this when a process starts, before Matplotlib is imported.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ.setdefault("MPLCONFIGDIR", str(user_folder() / "matplotlib"))
