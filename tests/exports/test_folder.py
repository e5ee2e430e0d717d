"""The folder of an export is whole or absent, and replaces only another export."""

import json
import os
import time
from pathlib import Path

import pytest

from jaxae.errors import UserError
from jaxae.exports.contents import CONTENTS_FILE, digest
from jaxae.exports.folder import check_place, whole_folder


def write(folder: Path, text: str) -> None:
    """Writes an export of one file."""
    with whole_folder(folder) as place:
        (place / "a.bin").write_text(text, encoding="utf-8")
        listed = {
            "format": "npz",
            "jaxae": "1",
            "step": 1,
            "epoch": 1.0,
            "replica": 0,
            "replicas": 1,
            "files": {"a.bin": digest(place / "a.bin")},
        }
        (place / CONTENTS_FILE).write_text(json.dumps(listed), encoding="utf-8")


def test_an_export_replaces_an_export_and_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "export"
    for text in ("first", "second"):
        write(folder, text)
        assert (folder / "a.bin").read_text(encoding="utf-8") == text
        assert list(folder.parent.iterdir()) == [folder]
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "third")
    assert (tmp_path / "empty" / "a.bin").exists()


def test_a_failed_export_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "export"

    def fail() -> None:
        with whole_folder(folder) as place:
            (place / "half").write_text("x", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    write(folder, "first")
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "a.bin").read_text(encoding="utf-8") == "first"


def test_remains_of_a_killed_export_are_removed_after_a_day(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".export.1.part", ".export.2.part", ".x.part"))
    for remains in (old, new, other):
        remains.mkdir()
        (remains / "half").write_text("x", encoding="utf-8")
    for remains in (old, other):
        os.utime(remains, (0, time.time() - 100_000))
    write(tmp_path / "export", "whole")
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["a.bin", CONTENTS_FILE]
    assert [remains.exists() for remains in (old, new, other)] == [False, True, True]


def test_exports_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    """Both begin before one ends; the later one has the folder, or says that it has not."""
    folder = tmp_path / "export"
    with whole_folder(folder) as place:
        (place / "b.bin").write_text("outer", encoding="utf-8")
        write(folder, "inner")
        assert (place / "b.bin").exists()
    assert [path.name for path in folder.iterdir()] == ["b.bin"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_appears_between_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, exists = tmp_path / "export", Path.exists

    def meet() -> None:
        with whole_folder(folder) as place:
            (place / "b.bin").write_text("outer", encoding="utf-8")
            write(folder, "inner")
            monkeypatch.setattr(Path, "exists", lambda path: path != folder and exists(path))

    with pytest.raises(UserError, match=r"export cannot be replaced \(.*\), perhaps because"):
        meet()
    monkeypatch.undo()
    assert (folder / "a.bin").read_text(encoding="utf-8") == "inner"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("given", [".", "../here", "..", "new/.."])
def test_the_current_folder_is_refused(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "above" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    message = "is no export" if given == ".." else "is the current folder, or holds it, and cannot"
    with pytest.raises(UserError, match=message), whole_folder(Path(given)):
        pass
    assert list((tmp_path / "above").iterdir()) == [here]


def test_other_folders_and_changed_exports_are_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="mine is no export, and is not replaced: give another"):
        check_place(mine)
    with pytest.raises(UserError, match="notes is a file, and is not replaced"):
        check_place(mine / "notes")
    with pytest.raises(UserError, match=r"cannot be written, because of .*notes"):
        check_place(mine / "notes" / "below")
    folder = tmp_path / "export"
    write(folder, "first")
    (folder / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="is an export, but has kept, which the export did"):
        write(folder, "second")
    (folder / "kept").unlink()
    (folder / "a.bin").write_text("edited", encoding="utf-8")
    with pytest.raises(UserError, match=r"is an export, but a\.bin is not as it was exported"):
        write(folder, "second")
    (folder / CONTENTS_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"export\.json cannot be read"):
        check_place(folder)
