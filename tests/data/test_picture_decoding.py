"""One picture file of every kind: its pixels against NumPy, and damage, which is never hidden."""

import errno
import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, ImageSequence
from PIL.JpegImagePlugin import JpegImageFile

from jaxae.data.readers import picture_decoding
from jaxae.data.readers.picture_decoding import Target, UnreadableError, decode, read_header
from jaxae.errors import UserError

HEIGHT, WIDTH = 6, 9
RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GRAY = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
ALPHA = np.where(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3, 255, 40).astype(np.uint8)
DEEP = RNG.integers(0, 2**16, (HEIGHT, WIDTH), np.uint16)
SMOOTH = np.stack(np.meshgrid(np.linspace(0, 255, 90), np.linspace(0, 255, 60)), -1)
SMOOTH = np.dstack([SMOOTH, np.full((60, 90), 128)]).astype(np.uint8)


def target(
    height: int = HEIGHT, width: int = WIDTH, channels: Any = 3, fit: Any = None, **named: Any
) -> Target:
    return Target(height, width, channels, fit, named.get("background", "white"))


def write(path: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    given = image if isinstance(image, Image.Image) else Image.fromarray(image)
    given.save(path, **options)
    return path


def luma(color: np.ndarray) -> np.ndarray:
    """Returns ITU-R 601's gray [H, W] of colors [H, W, 3]."""
    return color @ np.array([0.299, 0.587, 0.114])


def over(color: np.ndarray, alpha: np.ndarray, background: float) -> np.ndarray:
    """Returns colors [H, W, C] drawn over a gray with opacities [H, W] of 0..255."""
    opacity = alpha[..., None] / 255
    return color * opacity + background * (1 - opacity)


def three(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, -1)


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Returns a PNG file of these chunks."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)]
    return b"".join(parts)


def png_header(width: int, height: int, depth: int, kind: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)


# Modes and formats.


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "tga", "ico", "pcx", "sgi", "qoi"])
def test_lossless_colors_are_exact(tmp_path: Path, suffix: str) -> None:
    square = COLOR[:, :HEIGHT]  # an icon is square
    file = write(tmp_path / f"x.{suffix}", square)
    decoded = decode(file, target(HEIGHT, HEIGHT))
    np.testing.assert_array_equal(decoded.pixels, square)
    assert not decoded.transparent
    assert read_header(file) == picture_decoding.Header(HEIGHT, HEIGHT, False)


def test_webp_and_jpeg_2000_without_loss_are_exact(tmp_path: Path) -> None:
    for name, options in (("x.webp", {"lossless": True}), ("x.jp2", {"irreversible": False})):
        file = write(tmp_path / name, COLOR, **options)
        np.testing.assert_array_equal(decode(file, target()).pixels, COLOR)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_lossy_colors_are_close(tmp_path: Path, suffix: str) -> None:
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip("Pillow was built without AVIF")
    file = write(tmp_path / f"x.{suffix}", SMOOTH, quality=95)
    pixels = decode(file, target(60, 90)).pixels
    assert np.abs(pixels.astype(int) - SMOOTH).mean() < 3


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "pgm", "gif"])
def test_gray_is_exact_with_one_channel_and_with_three(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"x.{suffix}", GRAY)
    np.testing.assert_array_equal(decode(file, target(channels=1)).pixels, GRAY[..., None])
    np.testing.assert_array_equal(decode(file, target(channels=3)).pixels, three(GRAY))


def test_colors_become_gray_by_luma(tmp_path: Path) -> None:
    pixels = decode(write(tmp_path / "x.png", COLOR), target(channels=1)).pixels
    np.testing.assert_allclose(pixels[..., 0], luma(COLOR), atol=1)


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    file = write(tmp_path / "x.png", Image.fromarray(GRAY > 100))
    assert read_header(file).gray
    expected = (GRAY > 100)[..., None] * 255
    np.testing.assert_array_equal(decode(file, target(channels=1)).pixels, expected)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bits_of_gray_keep_the_upper_eight(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"x.{suffix}", DEEP)
    assert read_header(file).gray
    np.testing.assert_array_equal(decode(file, target(channels=1)).pixels[..., 0], DEEP // 256)


def test_16_bits_of_gray_in_either_byte_order(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (WIDTH, HEIGHT), DEEP.astype(">u2").tobytes())
    file = write(tmp_path / "x.tiff", image)
    np.testing.assert_array_equal(decode(file, target(channels=1)).pixels[..., 0], DEEP // 256)


def test_16_bits_of_color_keep_the_upper_eight(tmp_path: Path) -> None:
    deep = RNG.integers(0, 2**16, (HEIGHT, WIDTH, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    content = png(
        [png_header(WIDTH, HEIGHT, 16, 2), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    )
    (tmp_path / "x.png").write_bytes(content)
    np.testing.assert_array_equal(decode(tmp_path / "x.png", target()).pixels, deep // 256)


def test_a_transparent_value_of_16_bits(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP)
    key = int(DEEP[2, 3])
    transparency = (b"tRNS", struct.pack(">H", key))
    data = (b"IDAT", zlib.compress(rows))
    content = png([png_header(WIDTH, HEIGHT, 16, 0), transparency, data, (b"IEND", b"")])
    (tmp_path / "x.png").write_bytes(content)
    decoded = decode(tmp_path / "x.png", target(channels=1))
    assert decoded.transparent
    expected = np.where(key == DEEP, 255, DEEP // 256)
    np.testing.assert_array_equal(decoded.pixels[..., 0], expected)


def test_pillow_ignores_some_transparent_colors(tmp_path: Path) -> None:
    deep = RNG.integers(0, 2**16, (HEIGHT, WIDTH, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    transparency = (b"tRNS", struct.pack(">HHH", *deep[1, 1].tolist()))
    data = (b"IDAT", zlib.compress(rows))
    content = png([png_header(WIDTH, HEIGHT, 16, 2), transparency, data, (b"IEND", b"")])
    (tmp_path / "x.png").write_bytes(content)
    decoded = decode(tmp_path / "x.png", target())
    np.testing.assert_array_equal(decoded.pixels, deep // 256)
    assert not decoded.transparent


def test_palettes_become_colors(tmp_path: Path) -> None:
    palette = RNG.integers(0, 256, (16, 3), np.uint8)
    indices = RNG.integers(0, 16, (HEIGHT, WIDTH), np.uint8)
    image = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    image.putpalette(palette.tobytes())
    for suffix in ("png", "gif", "bmp", "tiff", "tga"):
        file = write(tmp_path / f"x.{suffix}", image)
        assert read_header(file).gray is None
        assert not picture_decoding.has_gray_palette(file)
        np.testing.assert_array_equal(decode(file, target()).pixels, palette[indices])


def test_a_palette_of_grays_is_gray(tmp_path: Path) -> None:
    indices = RNG.integers(0, 4, (HEIGHT, WIDTH), np.uint8)
    image = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    image.putpalette(np.repeat([200, 10, 255, 90], 3).tolist())
    file = write(tmp_path / "x.png", image)
    assert picture_decoding.has_gray_palette(file)
    expected = np.array([200, 10, 255, 90])[indices]
    np.testing.assert_array_equal(decode(file, target(channels=1)).pixels[..., 0], expected)


def test_cmyk_becomes_color(tmp_path: Path) -> None:
    inks = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    file = write(tmp_path / "x.tiff", Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes()))
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:]) / 255
    np.testing.assert_allclose(decode(file, target()).pixels, expected, atol=1)
    gray = decode(file, target(channels=1)).pixels[..., 0]
    np.testing.assert_allclose(gray, luma(expected), atol=2)


def test_ycbcr_and_lab_become_color(tmp_path: Path) -> None:
    for mode, pixel, color in (
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("LAB", (136, 208, 195), (255, 0, 0)),  # L* 53.3, a* 80, b* 67
    ):
        file = write(tmp_path / f"{mode}.tiff", Image.new(mode, (WIDTH, HEIGHT), pixel))
        pixels = decode(file, target()).pixels.astype(int)
        assert np.abs(pixels - color).max() < 12


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(DEEP.astype(np.float32)),
        Image.fromarray(DEEP.astype(np.int32)),
    ],
    ids=["floats", "32 bits"],
)
def test_pixels_without_a_range_are_refused(tmp_path: Path, image: Image.Image) -> None:
    with pytest.raises(UnreadableError, match="whose range is unknown"):
        read_header(write(tmp_path / "x.tiff", image))


# Transparency.


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "tga"])
def test_alpha_is_drawn_over_the_background(
    tmp_path: Path, suffix: str, background: str, value: float
) -> None:
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    file = write(tmp_path / f"x.{suffix}", np.dstack([COLOR, ALPHA]), **options)
    decoded = decode(file, target(background=background))
    assert decoded.transparent
    np.testing.assert_allclose(decoded.pixels, over(COLOR, ALPHA, value), atol=1)


def test_gray_with_alpha(tmp_path: Path) -> None:
    file = write(tmp_path / "x.png", np.dstack([GRAY, ALPHA]))
    assert read_header(file).gray
    decoded = decode(file, target(channels=1))
    assert decoded.transparent
    np.testing.assert_allclose(decoded.pixels, over(GRAY[..., None], ALPHA, 255), atol=1)


def test_an_opaque_alpha_is_no_transparency(tmp_path: Path) -> None:
    file = write(tmp_path / "x.png", np.dstack([COLOR, np.full_like(ALPHA, 255)]))
    decoded = decode(file, target())
    np.testing.assert_array_equal(decoded.pixels, COLOR)
    assert not decoded.transparent


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_entry_of_a_palette(tmp_path: Path, suffix: str) -> None:
    palette = RNG.integers(0, 200, (4, 3), np.uint8)
    indices = RNG.integers(0, 4, (HEIGHT, WIDTH), np.uint8)
    image = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    image.putpalette(palette.tobytes())
    decoded = decode(write(tmp_path / f"x.{suffix}", image, transparency=2), target())
    assert decoded.transparent
    expected = np.where(indices[..., None] == 2, 255, palette[indices])
    np.testing.assert_array_equal(decoded.pixels, expected)


def test_opacities_of_a_palette(tmp_path: Path) -> None:
    palette = RNG.integers(0, 200, (4, 3), np.uint8)
    indices = RNG.integers(0, 4, (HEIGHT, WIDTH), np.uint8)
    image = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    image.putpalette(palette.tobytes())
    opacities = np.array([0, 100, 200, 255], np.uint8)
    file = write(tmp_path / "x.png", image, transparency=opacities.tobytes())
    expected = over(palette[indices], opacities[indices], 255)
    np.testing.assert_allclose(decode(file, target()).pixels, expected, atol=1)


def test_a_transparent_color(tmp_path: Path) -> None:
    key = COLOR[1, 1]
    file = write(tmp_path / "x.png", COLOR, transparency=tuple(key.tolist()))
    decoded = decode(file, target())
    assert decoded.transparent
    expected = np.where((key == COLOR).all(-1, keepdims=True), 255, COLOR)
    np.testing.assert_array_equal(decoded.pixels, expected)


# Frames and rotation.


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_of_several(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if suffix == "webp" else {}
    file = write(
        tmp_path / f"x.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options
    )
    with Image.open(file) as saved:
        assert len(list(ImageSequence.Iterator(saved))) == 3
    pixels = decode(file, target()).pixels
    assert (pixels == [255, 0, 0]).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if suffix == "jpg" else {"lossless": True}
    file = write(tmp_path / f"x.{suffix}", SMOOTH, exif=exif, **options)
    # By EXIF's definition: where row 0 and column 0 of the stored pixels are seen.
    upright = {
        1: SMOOTH,  # top, left
        2: SMOOTH[:, ::-1],  # top, right
        3: SMOOTH[::-1, ::-1],  # bottom, right
        4: SMOOTH[::-1],  # bottom, left
        5: SMOOTH.swapaxes(0, 1),  # left, top
        6: SMOOTH[::-1].swapaxes(0, 1),  # right, top
        7: SMOOTH[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: SMOOTH[:, ::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]
    header = read_header(file)
    assert (header.height, header.width) == upright.shape[:2]
    pixels = decode(file, target(*upright.shape[:2])).pixels
    np.testing.assert_allclose(pixels, upright, atol=8 if suffix == "jpg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_other_orientations_are_ignored(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = write(tmp_path / "x.png", COLOR, exif=exif)
    np.testing.assert_array_equal(decode(file, target()).pixels, COLOR)


def test_damaged_exif_data_is_ignored(tmp_path: Path) -> None:
    file = write(tmp_path / "x.png", COLOR, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    with pytest.warns(UserWarning, match="EXIF"):
        np.testing.assert_array_equal(decode(file, target()).pixels, COLOR)


def test_a_rotation_behind_the_pixels_is_applied_or_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = b"".join(b"\0" + row.tobytes() for row in COLOR)
    late = [(b"IDAT", zlib.compress(rows)), (b"eXIf", exif.tobytes()[6:]), (b"IEND", b"")]
    file = tmp_path / "x.png"
    file.write_bytes(png([png_header(WIDTH, HEIGHT, 8, 2), *late]))
    assert read_header(file).height == HEIGHT
    with pytest.raises(UnreadableError, match="9x6 pixels, which its header did not say"):
        decode(file, target())
    upright = decode(file, target(WIDTH, HEIGHT, fit="stretch")).pixels
    np.testing.assert_array_equal(upright, COLOR[::-1].swapaxes(0, 1))


# Sizes.


def area_mean(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Returns the means of squares of so many pixels, an oracle for smooth pictures."""
    height, width = (side // factor for side in pixels.shape[:2])
    squares = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return squares.mean((1, 3))


def test_a_smaller_size_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((60, 90, 3), np.uint8)
    stripes[:, ::2] = 255  # without antialiasing all black or all white
    pixels = decode(write(tmp_path / "x.png", stripes), target(20, 30)).pixels
    np.testing.assert_allclose(pixels, 127.5, atol=30)
    smaller = decode(write(tmp_path / "y.png", SMOOTH), target(20, 30)).pixels
    np.testing.assert_allclose(smaller[2:-2, 2:-2], area_mean(SMOOTH, 3)[2:-2, 2:-2], atol=2)


def test_a_larger_size_is_interpolated(tmp_path: Path) -> None:
    pixels = decode(write(tmp_path / "x.png", SMOOTH), target(120, 180)).pixels
    np.testing.assert_allclose(area_mean(pixels, 2)[2:-2, 2:-2], SMOOTH[2:-2, 2:-2], atol=3)


def test_crop_keeps_the_middle(tmp_path: Path) -> None:
    file = write(tmp_path / "x.png", SMOOTH)  # 60 x 90
    middle = SMOOTH[:, 15:75]
    pixels = decode(file, target(60, 60, fit="crop")).pixels
    np.testing.assert_array_equal(pixels, middle)
    pixels = decode(file, target(20, 20, fit="crop")).pixels
    np.testing.assert_allclose(pixels[2:-2, 2:-2], area_mean(middle, 3)[2:-2, 2:-2], atol=2)


def test_pad_keeps_all_between_bars_of_black(tmp_path: Path) -> None:
    file = write(tmp_path / "x.png", np.full_like(SMOOTH, 200))
    pixels = decode(file, target(30, 30, fit="pad")).pixels
    assert (pixels[5:25] == 200).all()
    assert (pixels[:5] == 0).all()
    assert (pixels[25:] == 0).all()


def test_stretch_changes_proportions(tmp_path: Path) -> None:
    pixels = decode(write(tmp_path / "x.png", SMOOTH), target(60, 45, fit="stretch")).pixels
    expected = SMOOTH.reshape(60, 45, 2, 3).mean(2)
    np.testing.assert_allclose(pixels[:, 2:-2], expected[:, 2:-2], atol=2)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_any_proportions_become_any_size(tmp_path: Path, fit: str) -> None:
    for height, width in ((1, 500), (500, 1), (1, 1), (3, 7)):
        file = write(tmp_path / f"{height}x{width}.png", np.full((height, width), 77, np.uint8))
        for size in ((1, 1), (2, 9), (9, 2), (8, 8)):
            pixels = decode(file, target(*size, channels=1, fit=fit)).pixels
            assert pixels.shape == (*size, 1)
            assert pixels.max() == 77
            assert fit == "pad" or pixels.min() == 77


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller(
    tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.array(Image.fromarray(SMOOTH).resize((720, 480), Image.Resampling.BILINEAR))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = write(tmp_path / "x.jpg", large, quality=95, exif=exif)
    size = (40, 60) if orientation == 1 else (60, 40)
    boxes = []
    draft = JpegImageFile.draft

    def record(*given: Any) -> Any:
        boxes.append(draft(*given))
        return boxes[-1]

    monkeypatch.setattr(JpegImageFile, "draft", record)
    pixels = decode(file, target(*size)).pixels
    assert [box[2:] for _, box in boxes] == [(180, 120)]  # a quarter of each side
    with Image.open(file) as whole:
        whole.load()
        upright = ImageOps.exif_transpose(whole)
    expected = np.asarray(upright.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(pixels, expected, atol=2)


# Damage.


def encoded(suffix: str) -> bytes:
    stream = io.BytesIO()
    noisy = RNG.integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noisy).save(stream, suffix)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "gif", "bmp", "tiff", "ppm", "tga"])
def test_a_truncated_file_is_unreadable_or_whole(tmp_path: Path, suffix: str) -> None:
    content = encoded(suffix)
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(content)
    whole = decode(file, target(48, 64)).pixels
    lengths = [0, 1, 8, 20, 40, 100, *(len(content) * n // 10 for n in range(1, 10))]
    reasons = []
    for length in [*lengths, *range(len(content) - 30, len(content))]:
        file.write_bytes(content[:length])
        try:
            read_header(file)
            np.testing.assert_array_equal(decode(file, target(48, 64)).pixels, whole)
        except UnreadableError as error:
            reasons.append(str(error))
    assert len(reasons) >= len(lengths)
    assert not any(str(tmp_path) in reason or "\n" in reason for reason in reasons)


@pytest.mark.filterwarnings("ignore")  # of odd metadata
@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "gif", "bmp", "tiff", "ico", "pcx"])
def test_damaged_bytes_are_unreadable_or_a_picture(tmp_path: Path, suffix: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(COLOR).save(stream, suffix)
    content = stream.getvalue()
    file = tmp_path / "x"
    rng = np.random.default_rng(1)
    for _ in range(30):
        damaged = bytearray(content)
        for position in rng.integers(0, min(len(content), 200), 2):
            damaged[position] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            read_header(file)
            pixels = decode(file, target(fit="stretch")).pixels
        except UnreadableError:
            continue
        assert pixels.shape == (HEIGHT, WIDTH, 3)


def test_a_bomb_is_unreadable_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side, factor in ((9500, 1), (40000, 2)):  # over the limit, and over twice the limit
        file = tmp_path / f"{factor}.png"
        file.write_bytes(png([png_header(side, side, 1, 0), (b"IDAT", b""), (b"IEND", b"")]))
        with pytest.raises(
            UnreadableError, match=r"^it has more pixels than Pillow's limit of 89,4"
        ):
            read_header(file)
    file = write(tmp_path / "x.png", COLOR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # whoever asks for it has no limit
    assert read_header(file).height == HEIGHT


def test_programs_are_never_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "x.eps", COLOR)
    file.rename(tmp_path / "x.png")
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **named: pytest.fail("starts a program"))
    with pytest.raises(UnreadableError, match=r"^not a picture$"):
        read_header(tmp_path / "x.png")


def test_a_lack_of_file_descriptors_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "x.png", COLOR)

    def fail(*args: Any, **named: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(UserError, match="cannot be read now") as error:
        read_header(file)
    assert not isinstance(error.value, UnreadableError)


def test_pillows_settings_are_unchanged(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    decode(write(tmp_path / "x.jpg", SMOOTH), target(20, 30))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
