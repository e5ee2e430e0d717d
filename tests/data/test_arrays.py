"""Reading .npz and .npy files: against NumPy's own reading, and whatever can be wrong with them."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from sklearn.datasets import load_digits

from jaxae.data import own
from jaxae.data.readers import npy
from jaxae.data.readers.arrays import ARRAYS
from jaxae.data.reading import Reading
from jaxae.data.splits import hold_out
from jaxae.errors import UserError
from support.reading import error_of, load, read

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (20, 4, 6, 3), np.uint8)
GRAY = BYTES[..., 0]
SIX_CHANNELS = BYTES.repeat(2, axis=3).swapaxes(1, 2)
UNIT = RNG.random((20, 4, 6))
VECTORS = RNG.normal(3, 2, (20, 5))
CLASSES = np.arange(20) % 3
HELD = hold_out([str(index) for index in range(20)])


def save(path: Path, *array: Any, **arrays: Any) -> Path:
    """Writes the array to x.npy, or named ones to x.npz."""
    if array:
        np.save(path / "x.npy", array[0])
        return path / "x.npy"
    np.savez(path / "x.npz", **arrays)
    return path / "x.npz"


def joined(path: Path, reading: Reading = Reading()) -> np.ndarray:
    """Returns all examples in the order of the file."""
    splits = load(ARRAYS, path, reading)
    whole = np.empty((20, *splits["train"].images.shape[1:]), splits["train"].images.dtype)
    whole[~HELD], whole[HELD] = splits["train"].images, splits["test"].images
    return whole


# What is read.


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (BYTES, BYTES),
        (GRAY, GRAY[..., None]),
        (np.asfortranarray(BYTES), BYTES),
        (BYTES[::-1, :, ::2], BYTES[::-1, :, ::2]),
        (GRAY > 99, 255 * (GRAY > 99)[..., None].astype(np.uint8)),
        (UNIT, UNIT[..., None].astype(np.float32)),
        (UNIT.astype(">f8"), UNIT[..., None].astype(np.float32)),
        (UNIT.astype(np.float16), UNIT[..., None].astype(np.float16).astype(np.float32)),
        (SIX_CHANNELS, SIX_CHANNELS),
    ],
)
def test_images_are_read(tmp_path: Path, array: np.ndarray, expected: np.ndarray) -> None:
    for path in (save(tmp_path, array), save(tmp_path, anything=array)):
        found = joined(path)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_channels_first(tmp_path: Path) -> None:
    path = save(tmp_path, images=np.moveaxis(BYTES, 3, 1))
    np.testing.assert_array_equal(joined(path, Reading(channels_first=True)), BYTES)


def test_vectors_are_standardized_by_the_training_split(tmp_path: Path) -> None:
    constant = np.full((20, 1), 0.1)
    found = joined(save(tmp_path, np.concatenate([VECTORS, constant], axis=1)))
    train = VECTORS[~HELD]
    expected = (VECTORS - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(found[:, :5], expected, rtol=1e-5, atol=1e-5)
    assert (found[:, 5] == 0).all()


def test_vectors_of_bytes_and_booleans_are_numbers(tmp_path: Path) -> None:
    none = Reading(scale="none")
    for vectors in (GRAY[:, 0], GRAY[:, 0] > 99):
        found = joined(save(tmp_path, vectors), none)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, vectors.astype(np.float32))


@pytest.mark.parametrize("dtype", ["uint16", "int64", "float64", "uint8", "bool"])
def test_images_of_any_range_are_scaled_as_a_whole(tmp_path: Path, dtype: str) -> None:
    images = BYTES.astype(dtype)
    path, numbers = save(tmp_path, images), images.astype(np.float32)
    train = numbers[~HELD]
    np.testing.assert_allclose(
        joined(path, Reading(scale="minmax")),
        (numbers - train.min()) / (train.max() - train.min()),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        joined(path, Reading(scale="standardize")),
        (numbers - train.mean()) / train.std(),
        rtol=1e-4,
        atol=1e-5,
    )
    unscaled = joined(path, Reading(scale="none"))
    pixels = {"uint8": images, "bool": images.astype(np.uint8) * np.uint8(255)}
    np.testing.assert_array_equal(unscaled, pixels.get(dtype, numbers))


def test_test_values_may_leave_the_range_of_training(tmp_path: Path) -> None:
    path = save(tmp_path, x_train=UNIT, x_test=2 * UNIT + 3)
    splits = load(ARRAYS, path, Reading(scale="minmax"))
    assert splits["train"].images.min() == 0
    assert splits["train"].images.max() == 1
    assert splits["test"].images.max() > 3


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_splits_and_labels_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    parts = (BYTES, CLASSES, BYTES[:4], CLASSES[:4, None])
    splits = load(ARRAYS, save(tmp_path, **dict(zip(names, parts, strict=True))))
    np.testing.assert_array_equal(splits["train"].images, BYTES)
    np.testing.assert_array_equal(splits["test"].images, BYTES[:4])
    assert splits["train"].labels is not None
    assert splits["test"].labels is not None
    np.testing.assert_array_equal(splits["train"].labels, CLASSES)
    np.testing.assert_array_equal(splits["test"].labels, CLASSES[:4])
    alone = load(ARRAYS, save(tmp_path, **{names[0]: BYTES, names[2]: BYTES[:4]}))
    assert alone["train"].labels is None
    assert len(alone["test"].images) == 4


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("x_train", "y_train")])
def test_without_test_arrays_a_part_is_held_out(tmp_path: Path, names: tuple[str, str]) -> None:
    splits = load(ARRAYS, save(tmp_path, **{names[0]: BYTES, names[1]: CLASSES}))
    for split, chosen in (("train", ~HELD), ("test", HELD)):
        np.testing.assert_array_equal(splits[split].images, BYTES[chosen])
        labels = splits[split].labels
        assert labels is not None
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, CLASSES[chosen])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (CLASSES.astype(np.uint8), ("0", "1", "2")),
        (CLASSES.astype(float) * 10, ("0", "10", "20")),
        (CLASSES - 10, ("-10", "-9", "-8")),
        (np.array(["cat", "ant", "bee"])[CLASSES], ("ant", "bee", "cat")),
        (np.array([b"9", b"10", b"11"])[CLASSES], ("9", "10", "11")),
        (CLASSES == 1, ("False", "True")),
    ],
)
def test_any_labels_become_indices(
    tmp_path: Path, labels: np.ndarray, names: tuple[str, ...]
) -> None:
    opened = ARRAYS.open(save(tmp_path, images=BYTES, labels=labels), Reading())
    assert opened.class_names == names
    assert opened.labels
    values = [value.decode() if isinstance(value, bytes) else value for value in labels.tolist()]
    texts = [str(int(v)) if isinstance(v, float) else str(v) for v in values]
    expected = np.array([names.index(text) for text in texts])
    np.testing.assert_array_equal(opened.labels["train"], expected[~HELD])


def test_class_names_name_the_indices(tmp_path: Path) -> None:
    names = np.array(["b", "a", "c", "never"])
    opened = ARRAYS.open(save(tmp_path, x=BYTES, y=CLASSES, class_names=names), Reading())
    assert opened.class_names == ("b", "a", "c", "never")
    assert opened.labels
    np.testing.assert_array_equal(opened.labels["test"], CLASSES[HELD])


def test_the_name_is_that_of_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, BYTES)
    assert own.name_of(str(path)) == "x.npy"
    assert ARRAYS.files(path) == [path]


def test_a_header_of_python_2_is_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "|u1", "fortran_order": False, "shape": GRAY.shape}
    )
    header = content.getvalue().replace(b"(20, 4, 6), ", b"(20L, 4L, 6L),")
    header = header[:-2].rstrip().ljust(len(content.getvalue()) - 1) + b"\n"
    (tmp_path / "x.npy").write_bytes(header + GRAY.tobytes())
    np.testing.assert_array_equal(joined(tmp_path / "x.npy")[..., 0], GRAY)


@pytest.mark.slow
def test_scikit_learns_digits(tmp_path: Path) -> None:
    digits: Any = load_digits()
    path = save(tmp_path, images=digits.images, labels=digits.target)
    assert "--scale minmax" in error_of(ARRAYS, path)
    splits = load(ARRAYS, path, Reading(scale="minmax"))
    held = hold_out([str(index) for index in range(len(digits.images))])
    np.testing.assert_array_equal(
        splits["train"].images[..., 0], digits.images[~held].astype(np.float32) / 16
    )


_DTYPES = ["uint8", "bool", "float32", ">f4", "float64", "<f2", "int16", ">u4", "int64"]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    array=st.sampled_from(_DTYPES).flatmap(
        lambda dtype: arrays_of.arrays(
            dtype,
            arrays_of.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4).map(
                lambda shape: (shape[0] + 1, *shape[1:])
            ),
            elements=None if "f" not in dtype else st.floats(-100, 100, width=16),
        )
    ),
    order=st.sampled_from(["C", "F", "reversed"]),
    compressed=st.booleans(),
    chunk=st.integers(1, 64),
)
def test_any_array_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    array: np.ndarray,
    order: Any,
    compressed: bool,
    chunk: int,
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "x.npz"
    stored = array[::-1] if order == "reversed" else np.asarray(array, order=order)
    (np.savez_compressed if compressed else np.savez)(path, x=stored)
    expected = stored.astype(np.float32)
    if array.ndim > 2 and array.dtype == np.uint8:
        expected = stored
    elif array.ndim > 2 and array.dtype == bool:
        expected = stored * np.uint8(255)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy, "CHUNK_BYTES", chunk)
        found = read(ARRAYS.open(path, Reading(scale="none")))
    held = hold_out([str(index) for index in range(len(array))])
    expected = expected.reshape(*expected.shape, *[1] * (array.ndim == 3))
    np.testing.assert_array_equal(found["train"], expected[~held])
    np.testing.assert_array_equal(found["test"], expected[held])
    assert found["train"].dtype == expected.dtype


@pytest.mark.slow
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    monkeypatch.setattr(npy, "CHUNK_BYTES", 2**16)
    np.savez_compressed(tmp_path / "x.npz", np.zeros((4000, 32, 32, 3), np.uint8, order=order))
    tracemalloc.start()
    try:
        opened = ARRAYS.open(tmp_path / "x.npz", Reading())
        assert sum(len(piece.positions) for piece in opened.read()) == 4000
        assert tracemalloc.get_traced_memory()[1] < 4e6  # of 12.3 MB
    finally:
        tracemalloc.stop()


# What is refused.


class Touch:
    """Touches a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("unpickled"),)


def raw(content: bytes, name: str = "x.npy") -> Callable[[Path], Path]:
    """Returns a function that writes a file with this content."""

    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def with_header(content: bytes, **header: Any) -> bytes:
    """Returns an .npy file of GRAY's header but for some entries, and this content."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": GRAY.shape} | header
    )
    return file.getvalue() + content


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(name: str, content: bytes, damage: Callable[[bytes], bytes] = bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return damage(file.getvalue())


def flip(content: bytes) -> bytes:
    """Flips a bit within the compressed data."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def encrypt(content: bytes) -> bytes:
    """Sets the flags that say that the one member is encrypted."""
    central = content.index(b"PK\1\2")
    flagged = bytearray(content)
    flagged[6] |= 1
    flagged[central + 8] |= 1
    return bytes(flagged)


def compress_unknown(content: bytes) -> bytes:
    """Sets the compression method of the one member to one that does not exist."""
    changed = bytearray(content)
    for place in (8, content.index(b"PK\1\2") + 10):
        changed[place : place + 2] = struct.pack("<H", 77)
    return bytes(changed)


def unit(**changes: float) -> np.ndarray:
    array = UNIT.copy()
    array[3, 1, 2] = changes["to"]
    return array


CHANNELS_FIRST = Reading(channels_first=True)
BAD: dict[str, tuple[Callable[[Path], Path], Reading, tuple[str, ...]]] = {
    "no file": (lambda path: path / "x.npz", Reading(), ("there is no file", "x.npz")),
    "empty npy": (raw(b""), Reading(), ("not a whole .npy file", "numpy.save")),
    "empty npz": (raw(b"", "x.npz"), Reading(), ("not a whole .npz file", "numpy.savez")),
    "no arrays": (
        raw(b"PK\5\6" + bytes(18), "x.npz"),
        Reading(),
        ("holds no arrays", "x_train"),
    ),
    "text": (raw(b"hello, world, this is text"), Reading(), ("not a whole .npy file",)),
    "npy called npz": (raw(npy_bytes(GRAY), "x.npz"), Reading(), ("not a whole .npz file",)),
    "npz called npy": (raw(zipped("x.npy", npy_bytes(GRAY))), Reading(), ("not a whole .npy",)),
    "pickle": (raw(pickle.dumps(Touch())), Reading(), ("not a whole .npy file",)),
    "objects": (
        lambda path: save(path, np.array([Touch(), 1], object)),
        Reading(),
        ("Python objects, which are never unpickled",),
    ),
    "objects in npz": (
        lambda path: save(path, x=GRAY, y=np.array([Touch()] * 20, object)),
        Reading(),
        ("'y' in", "Python objects"),
    ),
    "fields": (lambda path: save(path, np.zeros(20, "i4,f4")), Reading(), ("dtype [(",)),
    "complex": (lambda path: save(path, UNIT + 1j), Reading(), ("complex128",)),
    "dates": (lambda path: save(path, np.zeros((20, 3), "M8[s]")), Reading(), ("datetime64",)),
    "truncated": (
        raw(npy_bytes(GRAY)[:-7]),
        Reading(),
        ("473 bytes where its header promises 480",),
    ),
    "longer": (raw(npy_bytes(GRAY) * 2), Reading(), ("promises 480",)),
    "cut header": (raw(npy_bytes(GRAY)[:60]), Reading(), ("not a whole .npy file",)),
    "huge shape": (
        raw(with_header(GRAY.tobytes(), shape=(10**18, 9, 9))),
        Reading(),
        ("promises 81000000000000000000",),
    ),
    "negative shape": (raw(with_header(b"", shape=(-2, 3))), Reading(), ("(-2, 3)",)),
    "code in header": (
        raw(with_header(b"").replace(b"(20, 4, 6)", b"open('x') ")),
        Reading(),
        ("not a whole .npy file",),
    ),
    "truncated zip": (
        raw(zipped("x.npy", npy_bytes(GRAY), lambda content: content[:-30]), "x.npz"),
        Reading(),
        ("not a whole .npz file",),
    ),
    "flipped bit": (
        raw(zipped("x.npy", npy_bytes(BYTES), flip), "x.npz"),
        Reading(),
        ("not a whole .npz",),
    ),
    "encrypted": (
        raw(zipped("x.npy", npy_bytes(GRAY), encrypt), "x.npz"),
        Reading(),
        ("encrypted",),
    ),
    "unknown compression": (
        raw(zipped("x.npy", npy_bytes(GRAY), compress_unknown), "x.npz"),
        Reading(),
        ("compression",),
    ),
    "member without array": (raw(zipped("notes.txt", b"hi"), "x.npz"), Reading(), ("'notes.txt'",)),
    "terminal escapes": (
        raw(zipped("\x1b[31m.npy", npy_bytes(GRAY[:, 0, 0])), "x.npz"),
        Reading(),
        ("'\\x1b[31m'",),
    ),
    "other names": (
        lambda path: save(path, images=GRAY, masks=GRAY),
        Reading(),
        ("'images', 'masks'", "x_train, y_train, x_test, y_test"),
    ),
    "many names": (
        lambda path: save(path, **{f"a{n}": GRAY for n in range(30)}),
        Reading(),
        ("20 more",),
    ),
    "labels alone": (lambda path: save(path, labels=CLASSES), Reading(), ("'labels'",)),
    "test alone": (lambda path: save(path, x_test=GRAY), Reading(), ("'x_test'",)),
    "labels of one split": (
        lambda path: save(path, x_train=GRAY, y_train=CLASSES, x_test=GRAY),
        Reading(),
        ("of both splits",),
    ),
    "no axes": (lambda path: save(path, np.array(3)), Reading(), ("the shape ()",)),
    "no examples": (lambda path: save(path, GRAY[:0]), Reading(), ("the shape (0, 4, 6)",)),
    "no pixels": (lambda path: save(path, GRAY[:, :0]), Reading(), ("the shape (20, 0, 6)",)),
    "one example": (lambda path: save(path, GRAY[:1]), Reading(), ("1 example:", "2 or more")),
    "one axis": (lambda path: save(path, CLASSES), Reading(), ("(20,)", "[N, H, W, C]")),
    "five axes": (lambda path: save(path, BYTES[None]), Reading(), ("(1, 20, 4, 6, 3)",)),
    "channels first forgotten": (
        lambda path: save(path, np.zeros((20, 3, 8, 8), np.uint8)),
        Reading(),
        ("(20, 3, 8, 8)", "give --channels-first"),
    ),
    "channels first in vain": (
        lambda path: save(path, np.zeros((20, 8, 8, 3), np.uint8)),
        CHANNELS_FIRST,
        ("(20, 8, 8, 3)", "leave it out"),
    ),
    "channels first of gray": (
        lambda path: save(path, GRAY),
        CHANNELS_FIRST,
        ("without channels",),
    ),
    "text as images": (
        lambda path: save(path, np.array([["a", "b"]] * 20)),
        Reading(),
        ("holds text",),
    ),
    "integers": (
        lambda path: save(path, GRAY.astype(np.int64)),
        Reading(),
        (f"int64 from {GRAY.min()} to {GRAY.max()}", "--scale minmax", "save them as uint8"),
    ),
    "wide floats": (lambda path: save(path, 16 * UNIT), Reading(), ("--scale minmax", "float64")),
    "negative floats": (lambda path: save(path, UNIT - 0.5), Reading(), ("--scale standardize",)),
    "wide test floats": (
        lambda path: save(path, x_train=UNIT, x_test=3 * UNIT),
        Reading(),
        ("'x_test'", "[0, 1]"),
    ),
    "bytes of 0 and 1": (
        lambda path: save(path, (GRAY > 99).astype(np.uint8)),
        Reading(),
        ("uint8 from 0 to 1",),
    ),
    "nan": (
        lambda path: save(path, unit(to=np.nan)),
        Reading(),
        ("holds 1 NaN or infinite numbers", "[3, 1, 2]"),
    ),
    "infinite": (
        lambda path: save(path, x_train=UNIT, x_test=unit(to=-np.inf)),
        Reading(scale="minmax"),
        ("'x_test' in", "[3, 1, 2]"),
    ),
    "beyond float32": (
        lambda path: save(path, unit(to=1e39)),
        Reading(scale="minmax"),
        ("to 1e+39", "3.40282e+38"),
    ),
    "too far apart": (
        lambda path: save(path, np.array([[-3e38], [3e38]] * 10)),
        Reading(scale="minmax"),
        ("6e+38",),
    ),
    "splits of other shapes": (
        lambda path: save(path, x_train=GRAY, x_test=GRAY[:, 1:]),
        Reading(),
        ("(3, 6, 1)",),
    ),
    "splits of other dtypes": (
        lambda path: save(path, x_train=GRAY, x_test=UNIT),
        Reading(),
        ("float64", "uint8"),
    ),
    "too few labels": (
        lambda path: save(path, x=GRAY, y=CLASSES[1:]),
        Reading(),
        ("19 labels for 20 examples",),
    ),
    "one-hot labels": (
        lambda path: save(path, x=GRAY, y=np.eye(3)[CLASSES]),
        Reading(),
        ("labels.argmax(1)",),
    ),
    "fractional labels": (
        lambda path: save(path, x=GRAY, y=CLASSES / 2),
        Reading(),
        ("0.5, which is no whole number",),
    ),
    "nan labels": (
        lambda path: save(path, x=GRAY, y=np.where(CLASSES, 1, np.nan)),
        Reading(),
        ("missing",),
    ),
    "empty labels": (
        lambda path: save(path, x=GRAY, y=np.array(["", "a", "b"])[CLASSES]),
        Reading(),
        ("the labels y in", "missing"),
    ),
    "names without labels": (
        lambda path: save(path, x=GRAY, class_names=np.array(["a"])),
        Reading(),
        ("no labels",),
    ),
    "too few names": (
        lambda path: save(path, x=GRAY, y=CLASSES, class_names=np.array(["a", "b"])),
        Reading(),
        ("from 0 to 2", "2 names"),
    ),
    "equal names": (
        lambda path: save(path, x=GRAY, y=CLASSES, class_names=np.array(["a", "a", "b"])),
        Reading(),
        ("different names",),
    ),
    "names of names": (
        lambda path: save(
            path, x=GRAY, y=np.array(list("abc"))[CLASSES], class_names=np.array(list("abc"))
        ),
        Reading(),
        ("names themselves",),
    ),
    "options of pictures": (
        lambda path: save(path, GRAY),
        Reading(size=(8,), fit="crop"),
        ("--size, --fit do not apply to arrays", "--scale"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write, reading, phrases = BAD[case]
    path = write(tmp_path)
    before = sorted(tmp_path.iterdir())
    message = error_of(ARRAYS, path, reading)
    for phrase in phrases:
        assert phrase in message
    assert sorted(tmp_path.iterdir()) == before  # nothing was unpickled


def test_a_file_that_changes_after_it_was_opened(tmp_path: Path) -> None:
    opened = ARRAYS.open(save(tmp_path, GRAY), Reading())
    save(tmp_path, UNIT)
    with pytest.raises(UserError, match="has changed since it was opened"):
        read(opened)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path, GRAY)
    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read now" in error_of(ARRAYS, path)
