"""Lists of SVHN's full numbers, `digitStruct.mat` and CSV: their entries, numbers, and the rectangles around them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from schemas.errors import UnfitError
from storage.formats import digit_struct
from storage.formats.digit_struct import Entry
from tests.support.digit_struct import Box, row_of_boxes, walk, write_mat
from tests.support.number_runs import TRAIN

# --- Lists --------------------------------------------------------------------------------------


def test_a_slab_of_entries_is_what_a_plain_walk_finds(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "digitStruct.mat", TRAIN)
    expected = walk(path)
    assert digit_struct.count_mat(str(path)) == len(expected) == len(TRAIN)
    found = digit_struct.read_mat(str(path), 0, 4) + digit_struct.read_mat(str(path), 4, len(TRAIN))
    assert {entry.name: list(map(tuple, entry.boxes.tolist())) for entry in found} == expected
    assert [entry.position for entry in found[3:5]] == ["digitStruct(4)", "digitStruct(5)"]


def test_entries_whose_fields_differ_in_length_are_named(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "digitStruct.mat", TRAIN[:2])
    with h5py.File(path, "r+") as file:
        group = file[file["digitStruct/bbox"][0, 0]]
        del group["width"]
        group["width"] = np.array([[5.0]])
    with pytest.raises(UnfitError) as raised:
        digit_struct.read_mat(str(path), 0, 2)[0].number()
    assert raised.value.problem.detail == "its boxes have 2 of label, 2 of left, 2 of top, 1 of width, 2 of height"


def test_a_csv_may_have_its_columns_in_any_order_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(
        "\ufeffLeft,WIDTH,height,top,label,name,note\r\n5,3,9,1,10,1.png,x\r\n1,3,9,2,4,1.png,y\r\n".encode()
    )
    (found,) = digit_struct.read_csv(str(path))
    assert (found.name, found.position, found.number()) == ("1.png", "line 2", "40")
    assert found.boxes.tolist() == [[10, 5, 1, 3, 9], [4, 1, 2, 3, 9]]


# --- Numbers and rectangles ---------------------------------------------------------------------


def entry(*boxes: Box) -> Entry:
    return Entry("1.png", "line 2", np.array(boxes, np.float64).reshape(-1, 5))


@pytest.mark.parametrize(
    ("boxes", "number"),
    [
        (row_of_boxes("10203"), "10203"),
        (row_of_boxes("0"), "0"),
        (row_of_boxes("00"), "00"),
        (list(reversed(row_of_boxes("123"))), "123"),
        ([(2, 24, 2, 14, 25), (6, 24, 3, 16, 25), (7, 48, 4, 9, 25), (2, 37, 5, 13, 25)], "2627"),  # 19970.png
    ],
)
def test_digits_are_read_from_left_to_right(boxes: list[Box], number: str) -> None:
    assert entry(*boxes).number() == number


@pytest.mark.parametrize(
    ("boxes", "reason", "detail"),
    [
        ([], "label_missing", "it has no box"),
        ([(0, 1, 1, 2, 2)], "label_outside_classes", "the label is 0, but labels are 1 to 10 (digit 0)"),
        ([(1, 1, 1, 2, 2), (11, 1, 1, 2, 2)], "label_outside_classes", "the label is 11, but labels are 1 to 10"),
        ([(2.5, 1, 1, 2, 2)], "label_outside_classes", "the label is 2.5"),
        ([(float("nan"), 1, 1, 2, 2)], "label_outside_classes", "the label is nan"),
        ([(1, float("nan"), 1, 2, 2)], "box_not_a_number", "a box has left, top, width, height [nan, 1.0, 2.0, 2.0]"),
    ],
)
def test_what_is_no_number_is_named(boxes: list[Box], reason: str, detail: str) -> None:
    with pytest.raises(UnfitError) as raised:
        entry(*boxes).number()
    assert raised.value.problem.reason == reason
    assert raised.value.problem.detail.startswith(detail)


@pytest.mark.parametrize(
    ("boxes", "margin", "expected"),
    [
        ([(1, 20, 10, 10, 20), (2, 30, 12, 10, 20)], 0.0, (10, 32, 20, 40)),
        ([(1, 20, 10, 10, 20), (2, 30, 10, 10, 20)], 0.3, (7, 33, 17, 43)),  # 20 x 20, 3 more on each side
        ([(1, 20, 10, 10, 20), (2, 30, 10, 11, 20)], 0.3, (7, 33, 16, 45)),  # 16.85 to 44.15, outwards
        ([(1, 20, 10, 10, 20), (2, 30, 10, 10, 20)], 1.0, (0, 40, 10, 50)),
        ([(1, -3, -2, 10, 20)], 0.0, (0, 18, 0, 7)),  # what lies outside the picture counts for nothing
        ([(1, -10, -10, 20, 20)], 0.3, (0, 12, 0, 12)),  # 10 x 10 inside: 1.5 more, not 3
        ([(1, 90, 50, 30, 30)], 0.3, (48, 60, 88, 100)),
        ([(1, -30, 10, 10, 20), (2, 30, 10, 10, 20)], 0.0, (10, 30, 30, 40)),  # nor does a box all outside
    ],
)
def test_the_crop_is_the_boxes_with_a_margin_within_the_picture(
    boxes: list[Box], margin: float, expected: tuple[int, int, int, int]
) -> None:
    assert entry(*boxes).rectangle(60, 100, margin) == expected


@pytest.mark.parametrize("box", [(1, -20, 5, 20, 9), (1, 100, 5, 9, 9), (1, 5, 60, 9, 9), (1, 5, 5, 0, 9)])
def test_boxes_outside_the_picture_have_no_crop(box: Box) -> None:
    with pytest.raises(UnfitError) as raised:
        entry(box).rectangle(60, 100, 0.3)
    assert raised.value.problem.reason == "box_outside"
    assert raised.value.problem.detail.endswith("but the image is 100x60")
