"""Class descriptions: as they are in the wild, and everything that can be wrong with them."""

import csv
from pathlib import Path

import pytest

from schemas.errors import InputError
from storage.formats.csv_tables import BOM, read_class_names


def read(folder: Path, content: bytes) -> dict[str, str]:
    path = folder / "classes.csv"
    path.write_bytes(content)
    return read_class_names(str(path))


def test_two_real_files_with_other_line_ends_have_the_same_601_classes(shared_data: Path) -> None:
    folder = shared_data / "open_images"
    paths = [folder / f"class-descriptions-boxable{name}.csv" for name in ("", "_trekfalcon_CR-eol")]
    assert b"\n" not in paths[1].read_bytes(), "or it is not the one that this test is for"
    one, other = (read_class_names(str(path)) for path in paths)
    assert list(one.items()) == list(other.items())
    assert len(one) == 601
    assert (one["/m/014j1m"], next(iter(one)), list(one)[-1]) == ("Apple", "/m/011k07", "/m/0zvk5")


def test_a_real_file_with_commas_and_doubled_quotes(shared_data: Path) -> None:
    path = shared_data / "open_images" / "class-descriptions_19995.csv"
    names = read_class_names(str(path))
    with path.open(newline="") as file:
        assert names == dict(csv.reader(file))
    assert len(names) == 19_995
    assert sum("," in name for name in names.values()) > 0
    assert sum('"' in name for name in names.values()) > 0


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("bom", [b"", BOM])
@pytest.mark.parametrize("header", [b"", b"LabelName,DisplayName"])
def test_every_kind_of_file(tmp_path: Path, end: bytes, bom: bytes, header: bytes) -> None:
    lines = [header, b'/m/1,"Bread, white"', b"", b'/m/2,"The ""Ark"""', "/m/3,Käse".encode(), b'"/m/4",/m/4']
    expected = {"/m/1": "Bread, white", "/m/2": 'The "Ark"', "/m/3": "Käse", "/m/4": "/m/4"}
    assert read(tmp_path, bom + end.join(lines)) == expected
    assert read(tmp_path, bom + end.join(lines) + end) == expected


def test_a_list_of_labels_alone(tmp_path: Path) -> None:
    for content in (b"/m/1\n/m/2\n", b"LabelName\n/m/1\n/m/2", b"/m/1\n/m/2\n/m/1\n"):
        assert read(tmp_path, content) == {"/m/1": "/m/1", "/m/2": "/m/2"}


def test_the_columns_may_stand_the_other_way_round(tmp_path: Path) -> None:
    assert read(tmp_path, b"DisplayName,LabelName\nApple,/m/1\n") == {"/m/1": "Apple"}


BAD = {
    b"": "is empty",
    b"\n\r\n": "is empty",
    b"LabelName,DisplayName\n": "names no class",
    b"/m/1,A\n/m/2,B, C\n": "line 2: a class is LABEL,NAME (quote a name with commas); got ['/m/2', 'B', ' C']",
    b"/m/1,Apple\n\n,Bread\n": "line 3: a class is LABEL,NAME (quote a name with commas); got ['', 'Bread']",
    b"/m/1,Apple\r/m/2,Fig\r/m/1,Pear\r": "line 3: '/m/1' occurs twice, as 'Apple' and 'Pear'",
    b"/m/1,Caf\xe9\n": "is no CSV file of classes in UTF-8",
    b"DisplayName,LabelName\nApple\n": "line 2: a class is LABEL,NAME (quote a name with commas); got ['Apple']",
    b"\x1b[1m\x0b,a\n\x1b[1m\x0b,b\n": r"line 2: '\x1b[1m\x0b' occurs twice",
    b'"' + b"x" * 200_000 + b'",a\n': "is no CSV file of classes in UTF-8: field larger than field limit (131072)",
}


@pytest.mark.parametrize("content", BAD, ids=lambda content: repr(content[:20]))
def test_what_is_no_file_of_classes(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    text = str(error.value)
    assert text.startswith(f"{tmp_path}/classes.csv")
    assert BAD[content] in text
    assert text.splitlines() == [text]
    assert len(text) < 400


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no such file: {tmp_path}/absent"):
        read_class_names(f"{tmp_path}/absent")
