"""Whether an address on the network answers."""

from __future__ import annotations

import threading

_SECONDS = 10.0


def why_unreachable(url: str, size: int | None, seconds: float = _SECONDS) -> str | None:
    """Returns why `url` cannot be fetched, or None if it answers with a file of `size` bytes.

    Takes at most `seconds`, including name resolution; TFDS itself would retry for minutes.
    """
    reasons: list[str | None] = [f"no answer from {url} within {seconds:g} s"]
    # A daemon: a thread that hangs in name resolution can be neither stopped nor joined.
    probe = threading.Thread(
        target=lambda: reasons.append(_probe(url, size, seconds)), daemon=True, name="probe"
    )
    probe.start()
    probe.join(seconds)
    return reasons[-1]


def _probe(url: str, size: int | None, seconds: float) -> str | None:
    """Returns what one request of `url`'s headers finds wrong, or None."""
    import requests  # TFDS downloads with it: same proxies, same certificates

    try:
        answer = requests.head(url, timeout=seconds, allow_redirects=True)
    except requests.RequestException as error:
        return f"no connection to {url} ({type(error).__name__})"
    length = answer.headers.get("Content-Length")
    if answer.status_code != requests.codes.ok:
        return f"{url} answers with HTTP status {answer.status_code}"
    if size is not None and length is not None and int(length) != size:
        # A captive portal or proxy answers every request with its own page.
        return f"{url} answers with {length} bytes, but the archive has {size}"
    return None
