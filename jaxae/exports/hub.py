"""The Hugging Face Hub: folders that are uploaded to it and fetched from it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxae.errors import UserError
from jaxae.exports.contents import ARRAY_FILES, CONTENTS_FILE, check_loads, read_contents
from jaxae.exports.extra import need
from jaxae.runs import CONFIG_FILE

PREFIX = "hf:"

_NEEDED = [CONTENTS_FILE, CONFIG_FILE, *ARRAY_FILES.values()]  # to load a network


def is_name(name: str) -> bool:
    """Returns whether a name can be that of a repository, OWNER/NAME."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII) is not None


def check_name(name: str) -> str:
    """Returns the name of a repository; raises `UserError` unless it is OWNER/NAME."""
    if not is_name(name):
        raise UserError(
            f"{name} cannot be a repository's name on the Hugging Face Hub: give OWNER/NAME, where "
            "OWNER is your user name or an organization"
        )
    return name


def fetch(source: str) -> Path:
    """Fetches the files of an export that loading needs, into Hugging Face's cache.

    Args:
      source: "hf:OWNER/NAME".

    Returns:
      The export's folder. Without a connection it is the one that was fetched last.

    Raises:
      UserError: the package is missing, there is no such repository, it is no export or one that
        jaxae does not load, or it cannot be reached.
    """
    name = check_name(source.removeprefix(PREFIX))
    with _speaking(name, "fetched") as hub:
        folder = Path(hub.snapshot_download(name, allow_patterns=_NEEDED))
    if not (folder / CONTENTS_FILE).is_file():
        raise UserError(
            f"hf:{name} is no export of jaxae, because it has no {CONTENTS_FILE}: give a "
            "repository that `jaxae push` made"
        )
    endpoint = need("huggingface_hub.constants", "the Hugging Face Hub").ENDPOINT
    check_loads(read_contents(folder), f"{PREFIX}{name}", f"{endpoint}/{name}")
    return folder


def check_login() -> None:
    """Raises `UserError` if the package is missing or no user is logged in."""
    if _library().get_token() is None:
        raise UserError(
            "you are not logged in to the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN"
        )


def upload(folder: Path, name: str, *, private: bool) -> str:
    """Uploads a folder to a repository, which is created if it does not exist; returns its URL.

    Args:
      folder: the folder, all of whose files are uploaded.
      name: OWNER/NAME.
      private: whether a new repository is private.

    Raises:
      UserError: the package is missing, nobody is logged in, or the user may not write there.
    """
    check_login()
    with _speaking(name, "written") as hub:
        api = hub.HfApi()
        url = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="Upload an export of jaxae"
        )
    return str(url)


@contextlib.contextmanager
def _speaking(name: str, done: str) -> Iterator[ModuleType]:
    """Yields the package huggingface_hub; turns whatever it raises into `UserError`."""
    hub = _library()
    try:
        yield hub
    except Exception as error:  # of its HTTP client, and of the system: many types
        raise _explain(f"{PREFIX}{name}", done, error) from None


def _explain(place: str, done: str, error: Exception) -> UserError:
    """Returns the error for a repository that cannot be fetched or written."""
    errors = need("huggingface_hub.errors", "the Hugging Face Hub")
    login = "`hf auth login`, or set HF_TOKEN"
    # If no copy was fetched before, the answer of the Hub is only the cause of the error.
    answer = errors.HfHubHTTPError
    cause: Any = error if isinstance(error, answer) else error.__cause__ or error
    if isinstance(cause, errors.GatedRepoError):
        return UserError(f"{place} is gated: ask for access on its page, then run {login}")
    if isinstance(cause, errors.RepositoryNotFoundError):
        return UserError(
            f"{place} does not exist, or is private: give another OWNER/NAME; for a private one "
            f"run {login}"
        )
    if not isinstance(cause, answer):
        # These are bases of all errors of the HTTP client, which differs by the package's version.
        client = [base for base in answer.__mro__[1:] if base.__module__ != "builtins"]
        lost = (*client, ConnectionError, TimeoutError, errors.LocalEntryNotFoundError)
        advice = "correct that, and try again"
        if isinstance(error, lost) or isinstance(cause, lost):
            advice = "connect to the network, and unset HF_HUB_OFFLINE if it is set"
        return UserError(f"{place} cannot be {done} ({_reason(cause)}): {advice}")
    status = cause.response.status_code
    if status in (401, 403):
        return UserError(
            f"{place} cannot be {done}, because the Hub refuses your token (HTTP status {status}): "
            f"give an OWNER/NAME of yours; for a token that may write run {login}"
        )
    return UserError(
        f"{place} cannot be {done} (HTTP status {status}: {_reason(cause)}): try again later"
    )


def _reason(error: BaseException) -> str:
    """Returns an error's first line, without its period."""
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return text.strip().rstrip(".:")[:200]


def _library() -> ModuleType:
    return need("huggingface_hub", "the Hugging Face Hub")
