"""Files that are whole or not there."""

from pathlib import Path

from jaxae.devices import is_first_process


def write_whole(path: Path, text: str) -> None:
    """Writes a file under a temporary name, then renames it, so that it is never half there.

    The temporary name is always the same: what a killed process has left there is written over.
    Of several processes only the first writes.
    """
    if not is_first_process():
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
