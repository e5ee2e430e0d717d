"""What a run's config.json says of the data that it was trained on."""

from pathlib import Path

from jaxae import data
from jaxae.errors import UserError


def check_data_dir(run: Path, name: str, recorded: str | Path | None, given: Path | None) -> None:
    """UserError where a run's dataset lies in a folder that the user has not named.

    A run may come from a stranger, and a prepared set can name code that is imported with it. So a
    run's own folder is opened only if it is the user's default, or given now by --data-dir.
    """
    if given is not None or recorded is None or name in data.BUNDLED:
        return
    recorded = Path(recorded).expanduser()
    if recorded.absolute() == data.data_directory(None):
        return
    start = "" if recorded.is_absolute() else ", relative to where it was started"
    raise UserError(
        f"{run} was trained on data in {recorded}{start}, which is not your data folder: give "
        f"--data-dir {recorded} if you trust what is in it"
    )
