"""Data of other people: folders of images and arrays, the broken among them too."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import Skipped, UsageError, printable
from captum_robust.audit.load.data import as_images, open_data, read_labels
from captum_robust.audit.load.images import Picture, read_image, side_of_pictures
from tests.audit.conftest import run_audit

RANDOM = np.random.default_rng(0)


def pixels(height: int = 6, width: int = 8) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    (made / "b").mkdir(parents=True)
    for name in ("c.png", "a.PNG", "b/z.bmp"):
        Image.fromarray(pixels()).save(made / name, format="PNG")
    (made / "notes.txt").write_text("no image")
    return made


def plan_of(data: Path, **settings: object) -> AuditPlan:
    return AuditPlan(**{"data": str(data), "limit": None, **settings})


def test_images_come_in_the_order_of_their_names(folder: Path) -> None:
    data = open_data(plan_of(folder))
    assert [data.name(place) for place in range(3)] == ["a.PNG", "b/z.bmp", "c.png"]
    assert list(data.ids) == [0, 1, 2] and not data.labelled
    with Image.open(folder / "b" / "z.bmp") as image:
        there = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    example = data.load(1)
    assert torch.equal(example.inputs[0], there) and example.truth is None


@pytest.mark.parametrize(("limit", "count"), [(None, 3), (2, 2), (9, 3)])
def test_the_limit_is_of_the_first_ones(limit: int | None, count: int, folder: Path) -> None:
    data = open_data(AuditPlan(data=str(folder), limit=limit))
    assert list(data.ids) == list(range(count))


def test_labels_belong_to_names(folder: Path, tmp_path: Path) -> None:
    mark = "\ufeff"  # some programs begin a file with it
    (tmp_path / "l.csv").write_text(mark + "name,class\nc.png,3\n b/z.bmp,1\n", encoding="utf-8")
    data = open_data(plan_of(folder, labels=tmp_path / "l.csv"))
    assert data.labelled
    assert [data.load(place).truth for place in range(3)] == [None, None, 3]


@pytest.mark.parametrize(
    "text", ["a.png,1\nb.png,one\n", "a.png,1\nb.png\n", "a.png,1\nb.png,-1\n"]
)
def test_labels_that_are_none_name_their_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(UsageError, match=r"as row 2 of"):
        read_labels(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("a.png,1.0\nb.png,2\n")
    with pytest.raises(UsageError, match=r"as row 1 of"):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "unreadable"),
        (b"no image at all", "unreadable"),
        (None, "truncated"),
    ],
)
def test_a_file_that_cannot_be_decoded_says_so(
    content: bytes | None, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(pixels(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(Skipped, match=says):
        read_image(path)


def test_more_than_eight_bits_are_not_cut_off_silently(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 1000, dtype=np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(Skipped, match="eight bits"):
        read_image(tmp_path / "x.png")


def test_size_takes_the_central_square(tmp_path: Path) -> None:
    image = np.zeros((10, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 200
    Image.fromarray(image).save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png", size=10)
    assert found.shape == (1, 3, 10, 10)
    assert torch.equal(found, torch.full_like(found, 200 / 255))
    assert read_image(tmp_path / "x.png", size=5, gray=True).shape == (1, 1, 5, 5)


def test_broken_and_odd_images_are_skipped_and_the_rest_goes_on(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "aa.png").write_bytes(b"no image")
    Image.fromarray(pixels(5, 8)).save(folder / "bb.png")
    report = run_audit(
        tmp_path / "out",
        *("--model", "torchvision:squeezenet1_1", "--data", str(folder), "--limit", "all"),
        *("--size", "24", "--nt-samples", "2", "--methods", "saliency,sparsified"),
        code=4,
    )
    [entry] = report.document["skipped"]
    assert entry["name"] == "aa.png" and entry["reason"].startswith("unreadable")
    assert [example["id"] for example in report.document["examples"]] == [0, 2, 3, 4]


HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be had there")
def test_hostile_file_names_and_labels_stay_inert(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [HOSTILE, "a\n\x1b[31mred\u202e.png", os.fsdecode(b"b\xff.png"), "'; rm -rf ~;.png"]
    for name in names:
        Image.fromarray(pixels()).save(folder / name, format="PNG")
    (folder / "{{ 7 * 7 }}.png").write_bytes(b"no image")
    report = run_audit(
        tmp_path / "out",
        *("--model", "torchvision:squeezenet1_1", "--data", str(folder), "--limit", "all"),
        *("--size", "24", "--nt-samples", "2", "--methods", "saliency"),
        code=4,
    )
    for page in (report.folder / "examples").iterdir():
        assert page.stem.isdigit()
        text = page.read_text(encoding="utf-8")
        assert "<img src=x" not in text and "\x1b" not in text and "\u202e" not in text
    assert "<img src=x" not in report.page and "&lt;img src=x onerror" in report.page
    assert "49.png" not in report.page and "{{ 7 * 7 }}" in report.page
    assert "\x1b" not in report.progress
    assert all(path.suffix in (".json", ".npz") for path in report.folder.glob("results/*/*"))


def test_printable_text_has_one_line_and_one_direction() -> None:
    assert printable("a\nb\x1b\u202e\udcff") == "a\\nb\\x1b\\u202e\\udcff"
    assert printable("Bär 熊.png") == "Bär 熊.png"


@pytest.mark.parametrize(
    ("x", "shape", "bounds"),
    [
        (RANDOM.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8), (3, 5, 6), (0.0, 1.0)),
        (RANDOM.integers(0, 256, (3, 5, 6), dtype=np.uint8), (1, 5, 6), (0.0, 1.0)),
        (RANDOM.random((3, 3, 5, 6)), (3, 5, 6), (0.0, 1.0)),
        (4 * RANDOM.random((3, 2, 5, 6)) - 2, (2, 5, 6), None),
    ],
)
def test_arrays_become_images(x: np.ndarray, shape: tuple[int, ...], bounds: object) -> None:
    inputs, unit, found = as_images(x, lambda: (np.float32(x.min()), np.float32(x.max())))
    assert tuple(inputs.shape) == (3, *shape)
    assert found == (bounds or (np.float32(x.min()), np.float32(x.max())))
    assert (unit == "pixel values in [0, 1]") == (bounds is not None)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_beyond_the_limit_take_no_memory(save: object, tmp_path: Path) -> None:
    x = RANDOM.random((200, 1, 200, 200)).astype(np.float32) * 3 - 1
    save(tmp_path / "d.npz", x=x, y=np.arange(200))
    size, extremes = x.nbytes, (float(x.min()), float(x.max()))
    first = torch.from_numpy(x[:1].copy())
    del x
    tracemalloc.start()
    data = open_data(plan_of(tmp_path / "d.npz", limit=1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size
    assert torch.equal(data.load(0).inputs, first)
    assert data.bounds == extremes  # of all rows


def test_arrays_stored_column_by_column_are_the_same(tmp_path: Path) -> None:
    x = RANDOM.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(x))
    data = open_data(plan_of(tmp_path / "d.npz", limit=2))
    assert len(data.ids) == 2
    for row in range(2):
        expected = torch.from_numpy(x[row]).permute(2, 0, 1).float() / 255
        assert torch.equal(data.load(row).inputs[0], expected)


def test_arrays_are_read_row_by_row(tmp_path: Path) -> None:
    x = RANDOM.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([2, 0, 1]))
    data = open_data(plan_of(tmp_path / "d.npz"))
    example = data.load(2)
    assert torch.equal(example.inputs[0], torch.from_numpy(x[2]).permute(2, 0, 1).float() / 255)
    assert example.truth == 1 and data.labelled
    np.savez(tmp_path / "e.npz", x=x[::-1], y=np.array([2, 0, 1]))
    assert open_data(plan_of(tmp_path / "e.npz")).digest() != data.digest()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"z": np.zeros(3)}, "must hold arrays `x`"),
        ({"x": np.zeros((3, 4))}, r"in `x`, got float64 of shape \(3, 4\)"),
        ({"x": np.zeros((3, 4, 4, 3), dtype=np.int64)}, "in `x`, got int64"),
        ({"x": np.zeros((3, 1, 4, 4)), "y": np.zeros(2, dtype=int)}, "one whole number in `y`"),
        ({"x": np.zeros((3, 1, 4, 4)), "y": np.zeros(3)}, "one whole number in `y`"),
        ({"x": np.array([{}], dtype=object)}, "must hold arrays `x`"),
        ({"x": np.zeros((0, 1, 4, 4))}, "in `x`"),
    ],
)
def test_arrays_of_another_form_are_refused(
    arrays: dict[str, np.ndarray], says: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(UsageError, match=says):
        open_data(plan_of(tmp_path / "d.npz"))


@pytest.mark.parametrize("content", [b"", b"words", "npy"])
def test_files_of_another_kind_are_refused(content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    with pytest.raises(UsageError, match="must hold arrays `x`"):
        open_data(plan_of(path))


def test_what_does_not_fit_together_is_refused(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 1, 4, 4)))
    with pytest.raises(UsageError, match="`--size` is about a folder"):
        open_data(plan_of(tmp_path / "d.npz", size=8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="must hold images"):
        open_data(plan_of(tmp_path / "empty"))
    (tmp_path / "d.npz").write_bytes(b"PK no archive")
    with pytest.raises(UsageError, match="must hold arrays"):
        open_data(plan_of(tmp_path / "d.npz"))


def test_pictures_are_means_of_their_pixels() -> None:
    values = torch.rand(224, 224, dtype=torch.float64)
    picture = Picture.of_map(values, 56)
    means = values.reshape(56, 4, 56, 4).mean((1, 3))
    found = torch.from_numpy(picture.pixels).double() / 255
    torch.testing.assert_close(found, means / means.max(), atol=0.5001 / 255, rtol=0)
    again = Picture.from_json(picture.to_json())
    assert np.array_equal(again.pixels, picture.pixels)
    assert Picture.of_map(torch.zeros(4, 4), 9).pixels.max() == 0


def test_pages_of_any_number_of_methods_stay_small() -> None:
    for methods in range(1, 10):
        side = side_of_pictures(methods)
        generator = torch.Generator().manual_seed(methods)
        maps = [torch.rand(224, 224, generator=generator) for _ in range(methods)]
        size = sum(len(Picture.of_map(values, side).as_map()) for values in maps)
        assert size < 24_000


def test_a_photo_stands_as_its_camera_was_held(tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(6, 8))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "a.png", exif=exif)
    shown = read_image(tmp_path / "a.png")
    assert shown.shape == (1, 3, 8, 6)
    turned = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    assert torch.equal(shown[0], turned.rot90(-1, (1, 2)))


def test_a_picture_that_would_fill_the_memory_is_skipped(tmp_path: Path) -> None:
    Image.new("1", (8000, 8000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 50_000
    with pytest.raises(Skipped, match="too large \\(8000 x 8000 pixels\\)"):
        read_image(tmp_path / "a.png")
