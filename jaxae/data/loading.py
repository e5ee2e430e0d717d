"""Loads a dataset by its TFDS name or its path, verified and decoded once, without a network.

>>> fashion = load("fashion_mnist")
>>> fashion.train.images.shape
(60000, 28, 28, 1)
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path

from jaxae import files
from jaxae.data import bundled, decoded, own, prepared, streaming
from jaxae.data.dataset import MINI_SUFFIX, Dataset
from jaxae.data.locks import lock
from jaxae.data.reading import Reading
from jaxae.data.validation import hold_out_validation
from jaxae.errors import UserError


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    sources: str | Path | None = None,
    stream: bool = False,
    workers: int = 0,
    reading: Reading = Reading(),
    validation: int = 0,
) -> Dataset:
    """Loads exactly the dataset `name`: a TFDS image dataset, a bundled subset, or your own data.

    Your own data is a folder of pictures, an .npz, .npy, .csv or .tsv file, or a Hugging Face
    dataset as "hf:NAME" or "hf:PATH". It is decoded once, into the user's cache folder. A name that
    TFDS has never means a folder of that name: give ./NAME for that.

    MNIST, Fashion-MNIST, KMNIST, EMNIST, CIFAR-10, CIFAR-100, SVHN (cropped, without "extra") and
    Larochelle's binarized MNIST are prepared on first use: from the archives in `sources`, else
    from those that Debian installs, else from the network. Any other dataset must already have been
    prepared by TFDS, with one image in each example. The first two keep the order of the
    original files. The arrays are read-only. Without the package array_record, only bundled subsets
    and cached datasets can be loaded.

    The splits are those that TFDS names "train" and "test"; all others are left out, and without
    the latter a tenth of the former is held out. EMNIST is upright, where TFDS has it transposed.
    Images whose pixels are stored as 0 and 1, such as those of dSprites and binarized MNIST, become
    0 and 255.

    Args:
      name: as in TFDS ("cifar10", "emnist/balanced", "mnist:3.0.1"), or "mnist_mini",
        "fashion_mnist_mini", or a path.
      data_dir: folder of prepared datasets; default: TFDS_DATA_DIR, else ~/tensorflow_datasets.
      sources: folder of original archives, with a subfolder per dataset; default: JAXAE_SOURCES.
      stream: leave the training split on disk, and read it when it is indexed or trained on;
        bundled subsets are always in memory. A set of TFDS is decoded once into a cache beside it,
        or in every epoch if the cache has no room on the disk.
      workers: number of processes that decode a set of TFDS that is not cached. Default: one per
        core, at most 16, for 20,000 images or more; otherwise, and for an uncached stream, one
        thread.
      reading: how your own data is read. Of a set of TFDS, `label` names the feature that holds the
        labels, such as "coarse_label" or "attributes/Smiling"; default: "label", else the only
        class label, else there are no labels.
      validation: number of training images to hold out as the split `validation`, always the same
        ones; images that are streamed stay on disk.

    Raises:
      UserError: the dataset cannot be loaded.
    """
    directory, source_root = _data_directory(data_dir), _source_root(sources)
    dataset = _load(name, directory, source_root, reading, stream=stream, workers=workers)
    return hold_out_validation(dataset, validation)


def _load(
    name: str,
    directory: Path,
    source_root: Path | None,
    reading: Reading,
    *,
    stream: bool,
    workers: int,
) -> Dataset:
    """Loads a whole dataset from absolute folders, as `load` does."""
    if _is_own(name, directory):
        dataset = own.load(name, reading)
        return streaming.stream_arrays(dataset) if stream else dataset
    if not _is_known(name, directory):
        raise _unprepared(name, directory)
    reading.check_only(("label",), f"{name}, which is not data of your own")
    if name in bundled.NAMES:
        reading.check_only((), f"{name}, a bundled subset")
        return bundled.load(name)
    folder = _prepared(name, directory, source_root)
    return decoded.load(
        folder, name, directory, label=reading.label, stream=stream, workers=workers
    )


def _is_own(name: str, directory: Path) -> bool:
    """Returns whether a name is the path of the user's own data, and not a name of TFDS.

    Prints a line if it could be either.
    """
    if own.is_path(name):
        return True
    if not name or not os.path.exists(name):  # noqa: PTH110 (it may be too long)
        return False
    if not _is_known(name, directory):
        return True
    print(
        f"jaxae: {name} is the dataset of that name; for the folder, give ./{name}", file=sys.stderr
    )
    return False


def _is_known(name: str, directory: Path) -> bool:
    """Returns whether a name is of a bundled subset, or of a set that is or can be prepared."""
    if name in bundled.NAMES or prepared.split_version(name)[0] in prepared.ORIGINALS:
        return True
    return _is_name(name) and prepared.find(directory, name) is not None


def _prepared(name: str, directory: Path, source_root: Path | None) -> Path:
    """Returns the folder of a prepared set; prepares it if needed and possible."""
    folder = prepared.find(directory, name) if _is_name(name) else None
    if folder is not None:
        return folder
    base, version = prepared.split_version(name)
    decoded.check_array_record(name)
    current = prepared.prepared_version(base)
    if version not in (None, current):
        raise UserError(
            f"{name} is not prepared in {directory}, and the installed TFDS can only prepare the "
            f"version {current}: give {base} or {base}:{current}"
        )
    name = base
    source = _obtainable(name, directory, source_root)  # before anything is written
    with lock(directory, name) as problem:
        if problem is None:  # another process may have prepared it in the meantime
            return prepared.find(directory, name) or prepared.prepare(directory, name, source)
    raise UserError(
        f"{name} cannot be prepared in {directory}: {problem}; name a folder that you can write to "
        "with --data-dir"
    )


def load_default(
    name: str,
    *,
    data_dir: str | Path | None = None,
    sources: str | Path | None = None,
    stream: bool = False,
    workers: int = 0,
    reading: Reading = Reading(),
    validation: int = 0,
) -> Dataset:
    """Loads `name`, or its bundled subset if the full dataset is unavailable.

    For commands whose user named no dataset. The full dataset is unavailable if it is not prepared,
    has no archives here and cannot be downloaded, or if array_record is missing. A line on stderr
    then reports the subset, and the dataset's name ends in "_mini". Any other failure, such as a
    bad archive or an unwritable folder, is an error.
    """
    try:
        return load(
            name,
            data_dir=data_dir,
            sources=sources,
            stream=stream,
            workers=workers,
            reading=reading,
            validation=validation,
        )
    except prepared.UnobtainableError as error:
        mini = load(name + MINI_SUFFIX)
        print(
            f"jaxae: NOT THE FULL DATASET: using the bundled subset {mini.name} "
            f"({len(mini.train.images)} training, {len(mini.test.images)} test images): {error}",
            file=sys.stderr,
        )
        return hold_out_validation(mini, validation)


def check_data_dir(run: Path, name: str, recorded: str | Path | None, given: Path | None) -> None:
    """Raises `UserError` if a run recorded a data folder that the user has not chosen.

    A run may come from a stranger, so it must not choose which folders are opened: its folder must
    be the user's default, or the user must give --data-dir now.
    """
    if given is not None or recorded is None or name in bundled.NAMES:
        return
    recorded = Path(recorded)
    if recorded.absolute() == _data_directory(None):
        return
    start = "" if recorded.is_absolute() else ", relative to the folder it was started in"
    raise UserError(
        f"{run} was trained on data in {recorded}{start}, which is not your data folder: give "
        f"--data-dir {recorded} if you trust what is in it"
    )


def _data_directory(data_dir: str | Path | None) -> Path:
    """Returns the absolute folder of prepared sets: the one given, else the user's default."""
    chosen = (
        data_dir or os.environ.get("TFDS_DATA_DIR") or files.user_folder() / "tensorflow_datasets"
    )
    if re.match(r"\w[\w+.-]+:/", str(chosen)):  # one slash: pathlib folds two
        raise UserError(f"the data directory {chosen} is remote: name a local one with --data-dir")
    directory = _expanded(chosen)
    if directory.exists() and not directory.is_dir():
        raise UserError(f"the data directory {directory} is a file: name a folder with --data-dir")
    return directory


def _source_root(sources: str | Path | None) -> Path | None:
    """Returns the absolute folder of archives, given or in JAXAE_SOURCES; None without either."""
    chosen = sources or os.environ.get("JAXAE_SOURCES")
    if not chosen:
        return None
    root = _expanded(chosen)
    if not root.is_dir():
        raise UserError(
            f"the source folder {root} (--sources or JAXAE_SOURCES) does not exist: name a folder "
            "with one subfolder of original archives per dataset, such as fashion_mnist"
        )
    return root


def _expanded(chosen: str | Path) -> Path:
    """Returns an absolute path, with ~ expanded to the user's home."""
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError:
        raise UserError(f"the home folder in {chosen} is unknown: give a path without ~") from None


def _is_name(name: str) -> bool:
    """Returns whether this is a TFDS name, which as a path cannot lead out of the data folder."""
    form = r"[a-z]\w*(/\w[\w.+-]*)?(:\d+\.\d+\.\d+)?"
    return len(name) < 200 and re.fullmatch(form, name) is not None  # a longer one is no file's


def _obtainable(name: str, directory: Path, source_root: Path | None) -> Path | None:
    """Returns the folder with the archives of `name`, or None if they can be downloaded."""
    source = prepared.find_archives(name, source_root)
    problem = None if source else prepared.download_problem(name)
    if problem is None:
        return source
    where = "no --sources are given"
    if source_root:
        where = f"{source_root} has no subfolder {name.split('/')[0]}"
    mini = name + MINI_SUFFIX
    known = mini in bundled.NAMES
    subset = f", or give --dataset {mini} for the bundled subset" if known else ""
    raise prepared.UnobtainableError(
        f"{name} is not prepared in {directory}, {where}, and it cannot be downloaded: {problem}; "
        f"connect to the network, or put {prepared.list_archives(name)} in "
        f"DIR/{name.split('/')[0]} and give --sources DIR{subset}"
    )


def _unprepared(name: str, directory: Path) -> UserError:
    """Returns the error for a name that TFDS has not prepared, or does not have."""
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    base, _ = prepared.split_version(name)
    if base.split("/")[0] in known:
        decoded.check_array_record(name)
        outer = base.split("/")[0]
        configurations = [other for other in prepared.ORIGINALS if other.startswith(f"{outer}/")]
        if configurations:
            return UserError(
                f"{name!r} names no configuration of {outer}: give one of "
                f"{', '.join(configurations)}"
            )
        return UserError(
            f"{name} is not prepared in {directory}, and TFDS needs TensorFlow to prepare it: run "
            f'`pip install tensorflow && python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}', data_dir='{directory}', file_format='array_record')"
            '.download_and_prepare()"`'
        )
    here = [f"./{path.name}" for path in Path().iterdir() if not path.name.startswith(".")]
    nearest = difflib.get_close_matches(f"./{name}", here, n=2)
    nearest += difflib.get_close_matches(name.lower(), [*bundled.NAMES, *known], n=3 - len(nearest))
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "look it up in TFDS's catalog"
    return UserError(
        f"there is no dataset {name!r}, and no file or folder of that name: give a name from TFDS, "
        f"such as mnist, a bundled subset, {', '.join(bundled.NAMES)}, or the path of data of your "
        f"own, such as ./pictures; {hint}"
    )
