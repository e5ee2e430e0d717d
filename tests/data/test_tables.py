"""Reading tables: against the csv module and NumPy, and whatever can be wrong with them."""

import csv
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from jaxae.data import own
from jaxae.data.readers import tables
from jaxae.data.readers.tables import TABLES
from jaxae.data.reading import Reading
from jaxae.data.splits import hold_out
from jaxae.errors import UserError
from support.reading import error_of, load, read

NONE = Reading(scale="none")
ROWS = np.random.default_rng(0).normal(5, 3, (30, 3)).round(3)
HELD = hold_out([str(index) for index in range(30)])


def write(folder: Path, text: str | bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table(rows: list[list[Any]] | np.ndarray, *header: str, delimiter: str = ",") -> str:
    """Returns a table as the csv module writes it."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([header, *(rows if isinstance(rows, list) else rows.tolist())])
    return file.getvalue()


PLAIN = table(ROWS, "a", "b", "c")
LABELED = table([[*row, "yn"[n % 2]] for n, row in enumerate(ROWS.tolist())], "a", "b", "c", "l")


def joined(path: Path, reading: Reading = NONE) -> np.ndarray:
    """Returns all vectors in the order of the file."""
    splits = load(TABLES, path, reading)
    held = hold_out([str(index) for index in range(sum(len(s.images) for s in splits.values()))])
    whole = np.empty((len(held), *splits["train"].images.shape[1:]), np.float32)
    whole[~held], whole[held] = splits["train"].images, splits["test"].images
    return whole


# What is read.


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\r\n", "\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("\r\n", "\r\n\r\n"),
        PLAIN.rstrip(),
        "\ufeff" + PLAIN,
        PLAIN.replace("a,b", '"a, as ""x""","b;b\n;b"'),
        PLAIN.replace("a,b,c", "0,1,2"),
        PLAIN.replace("a,b,c", "2019,total,e1"),
        "\n".join(",".join(f'"{value}"' for value in line.split(",")) for line in PLAIN.split()),
    ],
)
def test_tables_are_read(tmp_path: Path, text: str) -> None:
    found = joined(write(tmp_path, text))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ROWS.astype(np.float32))


@pytest.mark.parametrize("header", ["a", '"a,b"', '"a;b"', "a;b", "a\t"])
def test_a_single_column(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, header + "\n" + "\n".join(map(str, ROWS[:, 0])))
    np.testing.assert_array_equal(joined(path)[:, 0], ROWS[:, 0].astype(np.float32))


def test_columns_are_standardized_by_the_training_split(tmp_path: Path) -> None:
    rows = np.concatenate([ROWS, np.full((30, 1), 0.1)], axis=1)
    train = rows[~HELD]
    path = write(tmp_path, table(rows, "a", "b", "c", "constant"))
    expected = (ROWS - train.mean(0)[:3]) / train.std(0)[:3]
    found = joined(path, Reading())
    np.testing.assert_allclose(found[:, :3], expected, rtol=1e-4, atol=1e-5)
    assert (found[:, 3] == 0).all()
    low, high = train.min(0)[:3], train.max(0)[:3]
    found = joined(path, Reading(scale="minmax"))
    np.testing.assert_allclose(found[:, :3], (ROWS - low) / (high - low), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["no", "yes"], ("no", "yes")),
        (["10", "9"], ("9", "10")),
        (["1.0", "2.0"], ("1", "2")),
        ([" a", "b "], ("a", "b")),
        (["1", "one"], ("1", "one")),
        (["NA", "none"], ("NA", "none")),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_label_column_holds_the_classes(
    tmp_path: Path, labels: list[str], names: tuple[str, ...], place: int
) -> None:
    chosen = np.arange(30) % 2
    rows: list[list[Any]] = ROWS.tolist()
    for row, label in zip(rows, chosen, strict=True):
        row.insert(place, labels[label])
    header = ["a", "b", "c"]
    header.insert(place, "kind of thing")
    path = write(tmp_path, table(rows, *header))
    opened = TABLES.open(path, Reading(label="kind of thing", scale="none"))
    assert opened.class_names == names
    assert opened.shape == (3,)
    assert opened.labels
    first = names.index(labels[0].strip().removesuffix(".0"))
    np.testing.assert_array_equal(opened.labels["train"], (chosen ^ first)[~HELD])
    np.testing.assert_array_equal(opened.labels["test"], (chosen ^ first)[HELD])
    np.testing.assert_array_equal(read(opened)["test"], ROWS[HELD].astype(np.float32))


def test_a_row_stays_on_its_side_when_others_are_added(tmp_path: Path) -> None:
    few = load(TABLES, write(tmp_path, table(ROWS[:20], "a", "b", "c")), NONE)
    more = load(TABLES, write(tmp_path, PLAIN), NONE)
    for split in ("train", "test"):
        count = len(few[split].images)
        np.testing.assert_array_equal(few[split].images, more[split].images[:count])


def test_the_name_is_that_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN.replace(",", "\t"), "my table.tsv")
    assert own.name_of(str(path)) == "my table.tsv"
    assert TABLES.files(path) == [path]


@pytest.mark.slow
def test_scikit_learns_breast_cancer(tmp_path: Path) -> None:
    cancer: Any = load_breast_cancer()
    rows = [
        [*row, cancer.target_names[target]]
        for row, target in zip(cancer.data.tolist(), cancer.target, strict=True)
    ]
    path = write(tmp_path, table(rows, *cancer.feature_names, "diagnosis"))
    splits = load(TABLES, path, Reading(label="diagnosis"))  # benign, malignant
    held = hold_out([str(index) for index in range(len(rows))])
    train = cancer.data[~held]
    expected = (cancer.data[held] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(splits["test"].images, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(splits["train"].labels, 1 - cancer.target[~held])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 5).flatmap(
        lambda columns: st.lists(
            st.lists(
                st.floats(width=32, allow_nan=False, allow_infinity=False),
                min_size=columns,
                max_size=columns,
            ),
            min_size=2,
            max_size=20,
        )
    ),
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=5, max_size=5),
    delimiter=st.sampled_from([",", ";", "\t"]),
    at_once=st.integers(1, 9),
)
def test_any_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[float]],
    names: list[str],
    delimiter: str,
    at_once: int,
) -> None:
    # What the csv module writes of some characters, it does not read in the same way.
    safe = "".maketrans(dict.fromkeys("\0\r\n\t", "_"))
    header = [f"{n}x{name.translate(safe)}" for n, name in enumerate(names[: len(rows[0])])]
    path = write(tmp_path_factory.mktemp("table"), table(rows, *header, delimiter=delimiter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_CELLS_AT_ONCE", at_once)
        found = joined(path)
    np.testing.assert_array_equal(found, np.array(rows, np.float32))


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_CELLS_AT_ONCE", 1000)
    with (tmp_path / "x.csv").open("w") as file:
        file.write(",".join(f"c{n}" for n in range(50)) + "\n")
        file.writelines(",".join(f"{n}.{m}" for m in range(50)) + "\n" for n in range(5000))
    assert (tmp_path / "x.csv").stat().st_size > 1.5e6
    tracemalloc.start()
    try:
        opened = TABLES.open(tmp_path / "x.csv", Reading())
        assert sum(len(piece.positions) for piece in opened.read()) == 5000
        assert tracemalloc.get_traced_memory()[1] < 1.2e6
    finally:
        tracemalloc.stop()


# What is refused.

BAD: dict[str, tuple[str | bytes, Reading, tuple[str, ...]]] = {
    "empty": ("", NONE, ("is empty",)),
    "blank": ("\n\n  \n", NONE, ("is empty",)),
    "only a header": ("a,b\n", NONE, ("0 examples", "2 or more")),
    "one row": ("a,b\n1,2\n", NONE, ("1 example:",)),
    "no header": (PLAIN.partition("\n")[2], NONE, ("must name the columns", "add a header")),
    "no header but of a label": ("5.1,3.5,setosa\n4.9,3.0,setosa\n", NONE, ("add a header",)),
    "nameless column": ("a,,c\n1,2,3\n4,5,6\n", NONE, ("column 2", "has no name")),
    "index of pandas": (",a,b\n0,1,2\n1,3,4\n", NONE, ("column 1", "to_csv(index=False)")),
    "equal names": ("a,b, a\n1,2,3\n4,5,6\n", NONE, ("two columns 'a'",)),
    "short row": ("a,b\n1,2\n3\n4,5\n", NONE, ("line 3", "1 fields", "2 columns")),
    "long row": ("a,b\n1,2\n3,4,5\n", NONE, ("line 3", "3 fields", "double quotes")),
    "missing": ("a,b\n1,2\n3,\nNA,4\n", NONE, ("2 missing or infinite", "column 'b' on line 3")),
    "missing in any form": (
        "a,b\n1,2\n\n\n3,?\nnull,4\nNaN,n/a\n",
        NONE,
        ("4 missing", "column 'b' on line 5"),
    ),
    "missing after a label": (
        "l,a,b\nx,1,2\ny,3,\n",
        Reading(label="l"),
        ("1 missing", "column 'b' on line 3"),
    ),
    "infinite": ("a,b\n1,inf\n3,4\n", NONE, ("1 missing or infinite", "column 'b' on line 2")),
    "beyond float32": ("a,b\n1,1e39\n3,4\n", NONE, ("from 1 to 1e+39",)),
    "text": (
        "a,species\n1,cat\n2,dog\n",
        NONE,
        ("'cat' in column 'species' on line 2", "--label species", "remove the columns"),
    ),
    "text beside a label": (
        "a,species,place\n1,cat,here\n2,dog,there\n",
        Reading(label="species"),
        ("('place')",),
    ),
    "text in several columns": ("a,b,c\n1,x,y\n2,z,w\n", NONE, ("('b', 'c')",)),
    "one bad cell": ("a,b\n1,2\n3,4x\n5,6\n", NONE, ("'4x' in column 'b' on line 3",)),
    "decimal commas": ("a;b\n1,5;2,5\n3,5;4,5\n", NONE, ("'1,5'", "decimal point")),
    "separators of thousands": ('a,b\n"1,000,000",2\n3,4\n', NONE, ("'1,000,000'",)),
    "escapes": ("a,b\n1,\x1b[31m\n3,4\n", NONE, ("'\\x1b[31m'",)),
    "not UTF-8": ("a,größe\n1,2\n3,4\n".encode("latin-1"), NONE, ("0xf6", "UTF-8")),
    "UTF-16": ("a,b\n1,2\n3,4\n".encode("utf-16"), NONE, ("is not UTF-8",)),
    "a spreadsheet": (b"PK\3\4\x14\0\x06\0\x08\0\0\0!\0\xe2\x93", NONE, ("is not UTF-8",)),
    "open quote": ('a,b\n1,2\n"3,4\n5,6\n', NONE, ("cannot be split", "close each double quote")),
    "text after a quote": ('a,b\n1,2\n"3"x,4\n', NONE, ("line 3", "cannot be split")),
    "no such label": (LABELED, Reading(label="kind"), ("'kind' for --label", "'a', 'b', 'c', 'l'")),
    "only labels": ("l\nx\ny\n", Reading(label="l"), ("no column beside 'l'",)),
    "missing label": ("a,l\n1,x\n2,\n3,y\n", Reading(label="l"), ("column 'l'", "missing")),
    "fractional labels": ("a,l\n1,0.5\n2,1\n", Reading(label="l"), ("0.5, which is no whole",)),
    "nan labels": ("a,l\n1,nan\n2,1\n", Reading(label="l"), ("nan, which is no whole",)),
    "options of pictures": (
        PLAIN,
        Reading(channels=3, skip_unreadable=True),
        ("--channels, --skip-unreadable do not",),
    ),
    "option of arrays": (PLAIN, Reading(channels_first=True), ("--channels-first does not",)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_paragraph(tmp_path: Path, case: str) -> None:
    text, reading, phrases = BAD[case]
    message = error_of(TABLES, write(tmp_path, text), reading)
    for phrase in phrases:
        assert phrase in message
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "there is no file" in error_of(TABLES, tmp_path / "x.csv")
    (tmp_path / "y.csv").mkdir()
    assert "is not a file" in error_of(TABLES, tmp_path / "y.csv")


def test_endless_lines_and_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_CHARACTERS", 50)
    assert "line of 50 characters or more" in error_of(TABLES, write(tmp_path, "a" * 80))
    monkeypatch.undo()
    assert "field larger than" in error_of(TABLES, write(tmp_path, "a,b\n1," + "2" * 200_000))


def test_too_many_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxae.data.readers.labels._MOST_CLASSES", 20)
    path = write(tmp_path, table([[n, f"id{n}"] for n in range(30)], "a", "l"))
    assert "more than 20 different values" in error_of(TABLES, path, Reading(label="l"))


@pytest.mark.parametrize("change", [PLAIN + "1,2,3\n", PLAIN[: len(PLAIN) // 2], "a,b\n1,2\n"])
def test_a_table_that_changes_after_it_was_opened(tmp_path: Path, change: str) -> None:
    opened = TABLES.open(write(tmp_path, PLAIN), NONE)
    write(tmp_path, change)
    with pytest.raises(UserError):
        read(opened)
