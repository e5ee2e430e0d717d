"""Where the user who runs this keeps files, with or without a home."""

import contextlib
import functools
import os
import stat
import tempfile
from pathlib import Path


def user_folder() -> Path:
    """The user's home, or a folder in its place where the user has none, as in a container.

    That one is among the temporary files, and the user's alone: others could put programs there.
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
    """A folder for this process alone."""
    return Path(tempfile.mkdtemp(prefix="jaxae-"))


def cache_folder() -> Path:
    """The folder of what is computed once for this user."""
    from platformdirs import user_cache_path

    with contextlib.suppress(RuntimeError):
        place = user_cache_path("jaxae")
        if place.is_absolute():  # some releases leave the ~ of a home that is not there
            return place
    return user_folder() / "cache"


def settle_matplotlib() -> None:
    """Tells Matplotlib where to keep fonts if there is no home, for else it warns at each start.

    For the start of a process, before Matplotlib is imported.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ.setdefault("MPLCONFIGDIR", str(user_folder() / "matplotlib"))
