"""Small original archives, written in their formats by code of their own."""

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jaxae.data.prepared import archives, originals, preparation

COUNTS = {"train": 30, "validation": 7, "test": 8}

Split = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Small:
    """A set with few images.

    Attributes:
      original: how jaxae reads it.
      files: the content of its archives.
      splits: "image" and labels of each split, as they should load: upright, from 0 to 255.
    """

    original: originals.Original
    files: Mapping[str, bytes]
    splits: Mapping[str, Split]


def _images(split: str, *shape: int) -> np.ndarray:
    """Returns random images, uint8 [N, *shape]."""
    generator = np.random.default_rng(len(split))
    return generator.integers(0, 256, (COUNTS[split], *shape), np.uint8)


def _labels(split: str, classes: int) -> np.ndarray:
    return (np.arange(COUNTS[split]) * 7 % classes).astype(np.uint8)


def gzipped_idx(array: np.ndarray) -> bytes:
    """Encodes a uint8 array as a gzipped IDX file."""
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def kmnist() -> Small:
    """Returns a small Kuzushiji-MNIST."""
    splits = {
        split: {"image": _images(split, 28, 28), "label": _labels(split, 10)}
        for split in ("train", "test")
    }
    files = {
        f"{start}-{what}-idx{array.ndim}-ubyte.gz": gzipped_idx(array)
        for start, split in {"train": "train", "t10k": "test"}.items()
        for what, array in zip(("images", "labels"), splits[split].values(), strict=True)
    }
    return Small(originals.kmnist(COUNTS["train"], COUNTS["test"]), files, splits)


def emnist(config: str, classes: int, more: int = 0) -> Small:
    """Returns a small configuration of EMNIST; its files have `more` images than are taken."""
    splits, file = {}, io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for split in ("train", "test"):
            images, labels = _images(split, 28, 28), _labels(split, classes)
            splits[split] = {"image": images, "label": labels}
            stored = np.concatenate([images.transpose(0, 2, 1), images[:more]])
            for what, array in {
                "images": stored,
                "labels": np.concatenate([labels, labels[:more]]),
            }.items():
                name = f"gzip/emnist-{config}-{split}-{what}-idx{array.ndim}-ubyte.gz"
                archive.writestr(name, gzipped_idx(array))
    original = originals.emnist(config, COUNTS["train"], COUNTS["test"])
    return Small(original, {"gzip.zip": file.getvalue()}, splits)


def tar(members: Mapping[str, bytes]) -> bytes:
    """Encodes files as a gzipped tar file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def records(labels: Iterable[np.ndarray], images: np.ndarray) -> bytes:
    """Encodes CIFAR's records one by one: the labels, then one plane for each color."""
    return b"".join(
        bytes(numbers) + b"".join(image[..., color].tobytes() for color in range(3))
        for *numbers, image in zip(*labels, images, strict=True)
    )


def cifar10() -> Small:
    """Returns a small CIFAR-10, with six images in each of the six files."""
    train = {"image": _images("train", 32, 32, 3), "label": _labels("train", 10)}
    test = {"image": _images("test", 32, 32, 3)[:6], "label": _labels("test", 10)[:6]}
    batches = [
        {name: array[start : start + 6] for name, array in train.items()}
        for start in range(0, COUNTS["train"], 6)
    ]
    members = {
        f"data_batch_{number}.bin": records([batch["label"]], batch["image"])
        for number, batch in enumerate(batches, 1)
    }
    members["test_batch.bin"] = records([test["label"]], test["image"])
    members["batches.meta.txt"] = "\n".join([f"class {i}" for i in range(10)] + ["", ""]).encode()
    members["readme.html"] = b"<html>"
    content = tar({f"cifar-10-batches-bin/{name}": part for name, part in members.items()})
    splits = {"train": train, "test": test}
    return Small(originals.cifar10(6), {"cifar-10-binary.tar.gz": content}, splits)


def cifar100() -> Small:
    """Returns a small CIFAR-100."""
    splits = {
        split: {
            "image": _images(split, 32, 32, 3),
            "label": _labels(split, 100),
            "coarse_label": _labels(split, 20),
        }
        for split in ("train", "test")
    }
    members = {
        f"{split}.bin": records([part["coarse_label"], part["label"]], part["image"])
        for split, part in splits.items()
    }
    for kind, count in {"coarse": 20, "fine": 100}.items():
        names = [f"{kind} {number}\n" for number in range(count)]
        members[f"{kind}_label_names.txt"] = "".join(names).encode()
    content = tar({f"cifar-100-binary/{name}": part for name, part in members.items()})
    original = originals.cifar100(COUNTS["train"], COUNTS["test"])
    return Small(original, {"cifar-100-binary.tar.gz": content}, splits)


def mat(**arrays: np.ndarray) -> bytes:
    """Encodes arrays as a compressed MATLAB file of version 5."""
    from scipy import io as matlab

    file = io.BytesIO()
    matlab.savemat(file, arrays, do_compression=True)
    return file.getvalue()


def svhn_cropped() -> Small:
    """Returns a small SVHN, whose files have 10 for the digit 0."""
    splits = {
        split: {"image": _images(split, 32, 32, 3), "label": _labels(split, 10)}
        for split in ("train", "test")
    }
    files = {
        f"{split}_32x32.mat": mat(
            X=part["image"].transpose(1, 2, 3, 0),
            y=np.where(part["label"] == 0, 10, part["label"])[:, None].astype(np.uint8),
        )
        for split, part in splits.items()
    }
    return Small(originals.svhn_cropped(COUNTS["train"], COUNTS["test"]), files, splits)


def amat(bits: np.ndarray) -> bytes:
    """Encodes rows of 0 and 1 as text."""
    return "".join(" ".join(map(str, row)) + "\n" for row in bits.tolist()).encode()


def binarized_mnist() -> Small:
    """Returns a small binarized MNIST."""
    splits = {split: {"image": _images(split, 28, 28) // 128 * np.uint8(255)} for split in COUNTS}
    files = {
        f"binarized_mnist_{split[:5]}.amat": amat(part["image"].reshape(-1, 784) // 255)
        for split, part in splits.items()
    }
    return Small(originals.binarized_mnist(*COUNTS.values()), files, splits)


SETS: Mapping[str, Callable[[], Small]] = {
    "kmnist": kmnist,
    "emnist/balanced": lambda: emnist("balanced", 47),
    "emnist/letters": lambda: emnist("letters", 26, more=5),
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn_cropped": svhn_cropped,
    "binarized_mnist": binarized_mnist,
}


def install(
    patch: pytest.MonkeyPatch, name: str, small: Small, files: Mapping[str, bytes], root: Path
) -> None:
    """Writes archives to a subfolder of `root`, and registers what they are in place of TFDS."""
    folder = root / name.split("/")[0]
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    registered = {
        file: archives.Registered(
            f"http://host.invalid/{file}", len(content), hashlib.sha256(content).hexdigest()
        )
        for file, content in files.items()
    }
    patch.setattr(preparation, "registered", lambda name: registered)
    patch.setitem(originals.ORIGINALS, name, small.original)
