"""The script that draws the emoji of a font as pictures to train on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from jaxae import data
from jaxae.data import Reading
from jaxae.errors import UserError

LIST = """\
# group: Smileys & Emotion
# subgroup: face-smiling
1F600 ; fully-qualified # 😀 E1.0 grinning face
263A FE0F ; fully-qualified # ☺️ E0.6 smiling face
263A ; unqualified # ☺ E0.6 smiling face
# group: People & Body
1F44B 1F3FB ; fully-qualified # 👋🏻 E1.0 waving hand: light skin tone
1F468 200D 1F33E ; fully-qualified # 👨‍🌾 E4.0 man farmer
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Writes a short list of emoji in Unicode's form."""
    file = tmp_path / "emoji-test.txt"
    file.write_text(LIST, encoding="utf-8")
    return file


def test_emoji_come_with_their_groups_and_without_skin_colors(listed: Path) -> None:
    assert list(pictures.read_emoji(listed)) == [
        ("smileys_emotion", "\U0001f600"),
        ("smileys_emotion", "\u263a\ufe0f"),
        ("people_body", "\U0001f468\u200d\U0001f33e"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "--size 0: give 1 to 136"),
        ({"size": 137}, "--size 137: give 1 to 136"),
        ({"font": Path("no.ttf")}, "no.ttf is missing: install .* fonts-noto-color-emoji"),
        ({"emoji": Path("no.txt")}, "no.txt is missing: install .* unicode-data"),
        ({"font": Path("emoji-test.txt")}, "emoji-test.txt has no bitmaps of 109 pixels"),
        ({"out": Path("emoji-test.txt")}, "emoji-test.txt exists already"),
    ],
)
def test_wrong_options_are_one_error_and_leave_nothing(
    listed: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    monkeypatch.chdir(listed.parent)
    given = {"out": Path("emoji"), "font": listed, "emoji": listed, **changes}
    with pytest.raises(UserError, match=message):
        pictures.main(pictures.Options(**given))
    assert [path.name for path in listed.parent.iterdir()] == ["emoji-test.txt"]


@pytest.mark.skipif(
    not pictures.Options(Path()).font.is_file(), reason="the font Noto Color Emoji is not installed"
)
def test_the_folder_of_emoji_is_data_to_train_on(listed: Path, tmp_path: Path) -> None:
    pictures.main(pictures.Options(tmp_path / "emoji", size=32, emoji=listed))
    names = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png"))
    assert names == [
        "emoji/people_body/1f468_200d_1f33e.png",
        "emoji/smileys_emotion/1f600.png",
        "emoji/smileys_emotion/263a_fe0f.png",
    ]
    colors = np.asarray(Image.open(tmp_path / names[1]))
    assert colors.shape == (32, 32, 4)
    assert colors[0, 0, 3] == 0 < colors[16, 16, 3]
    dataset = data.load(str(tmp_path / "emoji"), reading=Reading(size=(16,)))
    assert dataset.class_names == ("people_body", "smileys_emotion")
    assert dataset.train.images.shape[1:] == (16, 16, 3)
