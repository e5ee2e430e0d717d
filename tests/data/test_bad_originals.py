"""Original archives that are damaged or hold something else: one error, and no files are left."""

import contextlib
import gzip
import io
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxae import data
from jaxae.errors import UserError
from support import originals, tiny
from support.originals import SETS, Small
from support.tiny import left_over


def changed(small: Small, file: str, content: bytes) -> dict[str, bytes]:
    """Returns the files of a set with other content in one of them."""
    assert file in small.files
    return {**small.files, file: content}


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Encodes files as a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def unzipped(content: bytes) -> dict[str, bytes]:
    """Returns the files in a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezipped(change: Callable[[str, bytes], bytes | None]) -> Callable[[], dict[str, bytes]]:
    """Returns a function that changes the files in EMNIST's zip file, or drops them."""

    def make() -> dict[str, bytes]:
        members = unzipped(SETS["emnist/balanced"]().files["gzip.zip"])
        changed = {name: change(name, part) for name, part in members.items()}
        kept = {name: part for name, part in changed.items() if part is not None}
        return {"gzip.zip": zipped(kept)}

    return make


def retarred(name: str, change: Callable[[dict[str, bytes]], Mapping[str, bytes]]) -> Any:
    """Returns a function that changes the files in CIFAR's tar file."""

    def make() -> dict[str, bytes]:
        ((file, content),) = SETS[name]().files.items()
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = {
                member.name: (archive.extractfile(member) or io.BytesIO()).read()
                for member in archive.getmembers()
            }
        return {file: originals.tar(change(members))}

    return make


TEN, HUNDRED = "cifar-10-batches-bin", "cifar-100-binary"
KANA = "train-images-idx3-ubyte.gz"
BITS = "binarized_mnist_valid.amat"
IMAGES = np.zeros((30, 28, 28), np.uint8)

BAD: dict[str, tuple[str, Callable[[], Mapping[str, bytes]], str]] = {
    "truncated gzip": (
        "kmnist",
        lambda: changed(originals.kmnist(), KANA, originals.kmnist().files[KANA][:-20]),
        rf"{KANA} is not a whole gzip file",
    ),
    "no gzip": (
        "kmnist",
        lambda: changed(originals.kmnist(), KANA, b"<html>"),
        rf"{KANA} is not a whole gzip file \(Not a gzipped file",
    ),
    "IDX of too few images": (
        "kmnist",
        lambda: changed(originals.kmnist(), KANA, originals.gzipped_idx(IMAGES[:29])),
        "IDX header of",
    ),
    "IDX of too many images": (
        "kmnist",
        lambda: changed(
            originals.kmnist(), KANA, originals.gzipped_idx(np.zeros((31, 28, 28), np.uint8))
        ),
        "IDX header of",
    ),
    "a label beyond the classes": (
        "kmnist",
        lambda: changed(
            originals.kmnist(),
            "train-labels-idx1-ubyte.gz",
            originals.gzipped_idx(np.full(30, 10, np.uint8)),
        ),
        "have the label 10, but there are only 10 classes",
    ),
    "no zip": ("emnist/balanced", lambda: {"gzip.zip": b"<html>"}, "gzip.zip is not a whole zip"),
    "truncated zip": (
        "emnist/balanced",
        lambda: {"gzip.zip": SETS["emnist/balanced"]().files["gzip.zip"][:-100]},
        "gzip.zip is not a whole zip",
    ),
    "zip without a file": (
        "emnist/balanced",
        rezipped(lambda name, part: None if "test-labels" in name else part),
        r"gzip.zip lacks gzip/emnist-balanced-test-labels-idx1-ubyte.gz",
    ),
    "zip with a truncated file": (
        "emnist/balanced",
        rezipped(lambda name, part: part[:-30] if "train-images" in name else part),
        "gzip.zip is not a whole zip",
    ),
    "zip with too few images": (
        "emnist/balanced",
        rezipped(
            lambda name, part: (
                originals.gzipped_idx(IMAGES[:29]) if "train-images" in name else part
            )
        ),
        r"IDX header of gzip/emnist-balanced-train-images-idx3-ubyte.gz in .*gzip.zip",
    ),
    "zip with images of another size": (
        "emnist/balanced",
        rezipped(
            lambda name, part: (
                originals.gzipped_idx(np.zeros((31, 27, 28), np.uint8))
                if "train-images" in name
                else part
            )
        ),
        "IDX header of",
    ),
    "no tar": ("cifar10", lambda: {"cifar-10-binary.tar.gz": gzip.compress(b"x" * 600)}, "tar.gz"),
    "truncated tar": (
        "cifar10",
        lambda: {
            "cifar-10-binary.tar.gz": SETS["cifar10"]().files["cifar-10-binary.tar.gz"][:9000]
        },
        "is not a whole tar.gz file",
    ),
    "tar without a file": (
        "cifar10",
        retarred("cifar10", lambda members: {**members, f"{TEN}/test_batch.bin": b""}),
        "test_batch.bin in .* has 0 bytes, but 6 records of 3073 bytes",
    ),
    "tar with a file elsewhere": (
        "cifar10",
        retarred(
            "cifar10",
            lambda members: {name.replace("test_", "../test_"): p for name, p in members.items()},
        ),
        f"lacks {TEN}/test_batch.bin",
    ),
    "tar with a longer file": (
        "cifar100",
        retarred(
            "cifar100",
            lambda members: {**members, f"{HUNDRED}/train.bin": bytes(30 * 3074 + 1)},
        ),
        "train.bin in .* has 92221 bytes, but at most 92220 are expected",
    ),
    "tar with too few class names": (
        "cifar10",
        retarred("cifar10", lambda members: {**members, f"{TEN}/batches.meta.txt": b"cat\ndog\n"}),
        "batches.meta.txt in .* has 2 lines of text, but the names of 10 classes",
    ),
    "tar with class names that are no text": (
        "cifar10",
        retarred("cifar10", lambda members: {**members, f"{TEN}/batches.meta.txt": b"\xff\n" * 10}),
        "has 0 lines of text",
    ),
    "tar that unpacks to more": (
        "cifar10",
        retarred("cifar10", lambda members: {"bomb": bytes(2**22), **members}),
        "unpacks to more than the dataset has",
    ),
    "no mat": (
        "svhn_cropped",
        lambda: changed(originals.svhn_cropped(), "test_32x32.mat", b"<html>" * 100),
        "test_32x32.mat is not a whole MATLAB file",
    ),
    "truncated mat": (
        "svhn_cropped",
        lambda: changed(
            originals.svhn_cropped(),
            "test_32x32.mat",
            originals.svhn_cropped().files["test_32x32.mat"][:5000],
        ),
        "test_32x32.mat has no array y",
    ),
    "mat with truncated labels": (
        "svhn_cropped",
        lambda: changed(
            originals.svhn_cropped(),
            "test_32x32.mat",
            originals.svhn_cropped().files["test_32x32.mat"][:-5],
        ),
        "test_32x32.mat is not a whole MATLAB file",
    ),
    "mat without labels": (
        "svhn_cropped",
        lambda: changed(
            originals.svhn_cropped(),
            "test_32x32.mat",
            originals.mat(X=np.zeros((32, 32, 3, 8), np.uint8)),
        ),
        r"test_32x32.mat has no array y, but y of shape \(8, 1\)",
    ),
    "mat of another shape": (
        "svhn_cropped",
        lambda: changed(
            originals.svhn_cropped(),
            "test_32x32.mat",
            originals.mat(X=np.zeros((8, 32, 32, 3), np.uint8), y=np.ones((8, 1), np.uint8)),
        ),
        r"has X of shape \(8, 32, 32, 3\) and type uint8, but",
    ),
    "mat of another dtype": (
        "svhn_cropped",
        lambda: changed(
            originals.svhn_cropped(),
            "test_32x32.mat",
            originals.mat(X=np.zeros((32, 32, 3, 8)), y=np.ones((8, 1), np.uint8)),
        ),
        "and type double, but",
    ),
    "mat with a label 0": (
        "svhn_cropped",
        lambda: changed(
            originals.svhn_cropped(),
            "test_32x32.mat",
            originals.mat(
                X=np.zeros((32, 32, 3, 8), np.uint8), y=np.arange(8, dtype=np.uint8)[:, None]
            ),
        ),
        "has labels from 0 to 7, but 1 to 10 are expected",
    ),
    "short text": (
        "binarized_mnist",
        lambda: changed(originals.binarized_mnist(), BITS, b"0 1\n"),
        "valid.amat has 4 bytes, but 7 lines of 784 numbers have 10976",
    ),
    "long text": (
        "binarized_mnist",
        lambda: changed(
            originals.binarized_mnist(), BITS, originals.binarized_mnist().files[BITS] + b"0"
        ),
        "valid.amat has more than 10976 bytes",
    ),
    "text with a 2": (
        "binarized_mnist",
        lambda: changed(
            originals.binarized_mnist(),
            BITS,
            originals.amat(np.where(np.eye(7, 784, 3, dtype=np.uint8) > 0, 2, 0)),
        ),
        "line 1 of .*valid.amat is not 784 times 0 or 1",
    ),
    "text with a line that goes on": (
        "binarized_mnist",
        lambda: changed(
            originals.binarized_mnist(),
            BITS,
            originals.binarized_mnist().files[BITS].replace(b"\n", b" ", 1),
        ),
        "line 1 of .*valid.amat is not 784 times 0 or 1",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_archive_is_refused(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make, message = BAD[what]
    originals.install(monkeypatch, name, SETS[name](), make(), tmp_path / "sources")
    with pytest.raises(UserError, match=message) as caught:
        data.load(name, data_dir=tmp_path / "data", sources=tmp_path / "sources")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "sources") in str(caught.value) or "have the label" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert left_over(tmp_path / "data") == []


@pytest.mark.parametrize("name", SETS)
def test_an_archive_with_another_checksum_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SETS[name]()
    originals.install(monkeypatch, name, small, small.files, tmp_path / "sources")
    *_, last = sorted((tmp_path / "sources" / name.split("/")[0]).iterdir())
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.raises(UserError, match=f"{last} has the wrong checksum: .*original archive of"):
        data.load(name, data_dir=tmp_path / "data", sources=tmp_path / "sources")
    assert left_over(tmp_path / "data") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["emnist/balanced", "cifar10"])
def test_an_archive_that_unpacks_to_gigabytes_is_not_read_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bombs = {
        "emnist/balanced": rezipped(
            lambda name, part: (
                gzip.compress(tiny.idx(IMAGES) + bytes(2**26)) if "train-images" in name else part
            )
        ),
        "cifar10": retarred("cifar10", lambda members: {"bomb": bytes(2**26), **members}),
    }
    originals.install(monkeypatch, name, SETS[name](), bombs[name](), tmp_path / "sources")
    tracemalloc.start()
    with contextlib.suppress(UserError):  # what follows EMNIST's images is left out, as in TFDS
        data.load(name, data_dir=tmp_path / "data", sources=tmp_path / "sources")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25
