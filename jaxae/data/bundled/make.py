"""Makes the bundled subsets from the original archives; equal archives give equal bytes.

    python -m jaxae.data.bundled.make --sources DIR

Each subset holds, in their original order, the first 500 training and the first 100 test images of
every class.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxae.data.prepared import archives, preparation, verified
from jaxae.data.prepared.originals import ORIGINALS, Contents
from jaxae.errors import UserError

_TRAIN_PER_CLASS = 500
_TEST_PER_CLASS = 100
_CLASSES = 10


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the ascending indices of the first `count` entries of each class in `labels`."""
    firsts = [np.flatnonzero(labels == label)[:count] for label in range(_CLASSES)]
    return np.sort(np.concatenate(firsts))


def _subset(contents: Contents, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the class-balanced subset of a set, with images uint8 [N, H, W, 1]."""
    arrays = {}
    for split, count in {"train": _TRAIN_PER_CLASS, "test": _TEST_PER_CLASS}.items():
        images, labels = (np.asarray(contents.splits[split][key]) for key in ("image", "label"))
        chosen = first_of_each_class(labels, count)
        arrays |= {f"{split}_images": images[chosen, ..., None], f"{split}_labels": labels[chosen]}
    return {**arrays, "class_names": np.array(class_names)}


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the bytes of an .npz file; unlike np.savez_compressed, it holds no time of day."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, the earliest date of the format
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return file.getvalue()


def made(name: str, sources: Path) -> bytes:
    """Returns the bundled file of `name`, made from the archives in a subfolder of `sources`."""
    folder = archives.find(name, sources)
    if folder is None:
        raise UserError(f"{sources} has no subfolder {name} with {archives.list_files(name)}")
    original = ORIGINALS[name]
    contents = original.read({file: folder / file for file in original.files})
    return npz_bytes(_subset(contents, preparation.class_names(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the bundled subsets.")
    parser.add_argument("--sources", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    options = parser.parse_args()
    for name in verified.ARRAYS:
        try:
            (options.out / f"{name}.npz").write_bytes(made(name, options.sources))
        except UserError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
