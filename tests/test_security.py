"""What SECURITY.md promises of paths, names, links, secrets and settings, each as an attack on it."""

import gzip
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from models import calibration, external_models, fitting
from pipelines.chain import load_run_file
from pipelines.convert.sources import open_images, svhn_full
from schemas import layout, tables
from schemas.errors import ConcordError, IncompleteError, InputError, StorageError
from schemas.rejects import Reason
from schemas.settings.convert import ConvertSettings
from storage import fetching, model_cards, parquet, products, small_files, stores, tfrecord
from storage.formats import csv_tables, idx
from storage.formats.csv_tables import read_label_table
from storage.products import ShardFolder, ShardReport
from tests.support import digit_struct, small_dataset
from tests.support.idx_files import digits, write_digits
from tests.support.idx_files import idx as idx_bytes
from tests.support.manifests import model_card

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\b", "a\0b", "", "s3://bucket/x"]
PASSWORD = "hunter2-very-secret"


def test_the_promises_are_told_to_users() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
    for name in set(re.findall(r"`(tests/[\w/.]+)`", text)):
        assert (ROOT / name).exists(), name


# --- Names never lead out of a folder -----------------------------------------------------------


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_elsewhere_are_none(name: str) -> None:
    assert not layout.is_inside(name)
    with pytest.raises(InputError, match="which is no path within its folder"):
        layout.check_inside("x.json", name)


@pytest.mark.parametrize("name", ["1.png", "a/b.jpg", "fold/0", "..a", "a..b", "ü 1"])
def test_plain_names_lie_within(name: str) -> None:
    assert layout.check_inside("x.json", name) == name


@pytest.mark.parametrize("key", ["dataset", "name", "annotator"])
@pytest.mark.parametrize("name", ["../..", "a/b", "/etc", "A", "", "a b", "dataset=x"])
def test_names_in_run_files_are_checked_before_they_become_paths(tmp_path: Path, key: str, name: str) -> None:
    stage = {"dataset": "[convert]", "name": '[[train]]\nnetwork = "cnn1"', "annotator": "[label]\nmodel_file = 'x'"}[
        key
    ]
    path = tmp_path / "run.toml"
    path.write_text(f"{stage}\n{key} = {json.dumps(name)}\n")
    with pytest.raises(InputError):
        load_run_file(str(path), str(tmp_path / "out"))


def test_a_run_file_cannot_choose_the_root(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('root = "../.."\n')
    with pytest.raises(InputError, match="unknown key root"):
        load_run_file(str(path), "out")


@pytest.mark.parametrize(
    "content", ["a = " + "[" * 100_000, "a = " + "9" * 10_000, "a = 1\n" * 400_000, "x = '\ud800'"]
)
def test_absurd_run_files_are_errors(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"run\.toml is not a"):
        load_run_file(str(path), "out")


def test_names_in_lists_of_pictures_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(digit_struct.png(digit_struct.picture(30, 60)))
    folder = tmp_path / "train"
    digit_struct.write_mat(folder / "digitStruct.mat", [("../secret.png", digit_struct.row_of_boxes("7"))])
    source = svhn_full.make(svhn_full.SourceSettings(dataset="d", source="svhn_full", input=(str(folder),)))
    problem = source.read(source.plan().slabs[0]).problems[0]
    assert problem == (Reason.IMAGE_GONE, "'../secret.png' is no path within the folder of the list")
    table = tmp_path / "tags.csv"
    table.write_text("filename,labels\na.jpg,x\nb/../../secret.png,y\n")
    with pytest.raises(InputError, match=r"tags\.csv, line 3: names '\.\./secret\.png', which is no path within"):
        read_label_table(str(table))


@pytest.mark.parametrize("name", ["../../../.bashrc", "/etc/cron.d/x"])
def test_the_card_of_a_model_names_files_of_its_folder_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "victim").write_bytes(b"x")
    model_cards.write_card(str(tmp_path), model_card(files={name: {"sha256": "0", "size": 1}}))
    for read in (model_cards.find_card, model_cards.require_card):
        with pytest.raises(InputError, match=r"model\.json names .*which is no path within its folder"):
            read(str(tmp_path))
    model_cards.write_card(str(tmp_path), model_card(members={"../other": "f"}))
    with pytest.raises(InputError, match="which is no path within its folder"):
        model_cards.find_card(str(tmp_path))


def test_a_model_that_says_of_itself_that_it_is_trusted_is_not(tmp_path: Path) -> None:
    card = model_card(external={"file": "net", "sha256": {}, "trust_model": True})
    with pytest.raises(InputError, match="keeps a SavedModel, which can run code of its own: trust it with"):
        external_models.reload(str(tmp_path), card, trusted=False)


# --- Links --------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["split=test", "annotator=theirs"])
def test_nothing_is_removed_or_written_beyond_a_link_in_a_label_set(tmp_path: Path, link: str) -> None:
    home = tmp_path / "home"
    (home / "split=test").mkdir(parents=True)
    (home / "diary.txt").write_text("mine")
    (home / "split=test" / "diary.txt").write_text("mine")
    folder = Path(layout.labels(str(tmp_path / "out"), "d", "theirs", "test"))
    place = next(one for one in (folder, *folder.parents) if one.name == link)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(home, target_is_directory=True)
    with pytest.raises(StorageError, match=f"{link} is a link, and nothing is written or removed beyond links"):
        ShardFolder(str(folder), 8, "f").prepare()
    assert len(list(home.rglob("diary.txt"))) == 2
    assert len(list(home.rglob("*"))) == 3


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    folder = ShardFolder(layout.labels(str(tmp_path / "out"), "d", "a", "test"), 1, "f")
    assert folder.prepare() == {}
    folder.write(0, tables.LABELS.empty_table(), ShardReport())
    assert list(folder.done()) == [0]


def test_a_link_in_the_place_of_a_shard_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    (tmp_path / "part").symlink_to(tmp_path / "diary.txt")
    stores.write_bytes(str(tmp_path / "part"), b"new")
    assert (tmp_path / "diary.txt").read_text() == "mine"
    assert not (tmp_path / "part").is_symlink()


# --- No objects of Python -----------------------------------------------------------------------


class Attack:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    ran, given = tmp_path / "ran", np.array([Attack(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / model_cards.CHECKPOINT_FILE, header=given, values=given, scores=given)
    content = (tmp_path / model_cards.CHECKPOINT_FILE).read_bytes()
    assert fitting.find_checkpoint(str(tmp_path), "f") is None
    with pytest.raises(IncompleteError, match="is damaged"):
        calibration.unpack_scores(content)
    with pytest.raises(ValueError, match="an array of shape"):
        small_files.read_npz(content)
    features = Path(layout.features(str(tmp_path), "d", "b", "train"))
    features.mkdir(parents=True)
    np.save(features / "part-00000-of-00001.npy", given, allow_pickle=True)
    (features / "part-00000-of-00001.npy").rename(features / "part-00000-of-00001.parquet")
    with pytest.raises(IncompleteError, match="is damaged"):
        ShardFolder(str(features), 1, "f").read(0)
    assert not ran.exists()
    np.load(tmp_path / model_cards.CHECKPOINT_FILE, allow_pickle=True)["header"]  # and the attack is one
    assert ran.exists()


# --- Memory -------------------------------------------------------------------------------------


def test_an_idx_file_that_unpacks_to_more_than_it_says_is_left(tmp_path: Path) -> None:
    images, labels = write_digits(tmp_path, 10)
    Path(images).write_bytes(gzip.compress(idx_bytes(digits(10)[0]) + bytes(300 << 20)))
    with pytest.raises(InputError, match=r"holds 7,857 bytes or more, but must hold 7,856"):
        idx.read_digits((images, labels))
    header = bytes.fromhex("00000803") + b"\x7f\xff\xff\xff" * 3
    for content in (header, gzip.compress(header)):
        Path(images).write_bytes(content)
        with pytest.raises(InputError, match=r"its header states 9,9\d\d,.* bytes, but only \d+ are stored"):
            idx.read_digits((images, labels))


@pytest.mark.parametrize("length", [1 << 62, -1, 1 << 40])
def test_lengths_of_records_are_held_against_their_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "shard"
    path.write_bytes(tfrecord.frame_record(b"payload"))
    with path.open("rb") as file:
        assert tfrecord.read_payload(file, 12, 7) == b"payload"
        assert tfrecord.read_payload(file, 12, length) is None
        assert tfrecord.read_payload(file, -5, 7) is None
    assert tfrecord.payload_at(path.read_bytes(), 12, length) is None


def test_json_and_csv_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 1_000_000)
    with pytest.raises(StorageError, match="is damaged"):
        small_files.find_json(str(path))
    monkeypatch.setattr(small_files, "MAX_JSON_BYTES", 10)
    monkeypatch.setattr(csv_tables, "MAX_BYTES", 10)
    path.write_text('{"a": "longer than that"}')
    with pytest.raises(StorageError, match="has 25 bytes, more than 10"):
        small_files.find_json(str(path))
    with pytest.raises(InputError, match="has 25 bytes; a file of boxes may have 10"):
        csv_tables.read_rows(str(path), "boxes")


@pytest.mark.parametrize("shards", [0, -1, 1 << 40, "8", None, True, 1.5])
def test_manifests_are_looked_at(tmp_path: Path, shards: Any) -> None:
    folder = layout.labels(str(tmp_path), "d", "a", "train")
    facts = {"stage": "import", "product": "d/a/train", "fingerprint": "f", "annotator": "a", "split": "train"}
    small_files.write_json(f"{folder}/_concord.json", {**facts, "images": "i", "rows": 0, "shards": shards})
    with pytest.raises(StorageError, match="shards"):
        products.label_set(str(tmp_path), "d", "a", "train")
    with pytest.raises(StorageError, match="shards"):
        products.shard_folder(folder)


def test_a_footer_cannot_be_longer_than_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by fuzzing: as much was asked for as the footer said that it had."""
    path = tmp_path / "part.parquet"
    path.write_bytes(b"PAR1" + bytes(50) + b"\xff\xff\xff\x7fPAR1")
    asked: list[int] = []
    opened = stores.open_input

    def watched(place: str) -> Any:
        file = opened(place)

        def read(most: int) -> bytes:
            asked.append(most)
            return file.read(most)

        return SimpleNamespace(seek=file.seek, read=read, close=file.close)

    monkeypatch.setattr(stores, "open_input", lambda place: closing(watched(place)))
    with pytest.raises(IncompleteError):
        parquet.footer_hashes([str(path)])
    assert asked and max(asked) <= 1 << 16


def test_rows_without_an_id_are_damage(tmp_path: Path) -> None:
    table = pa.table({"image_id": ["a", None]})
    parquet.write(str(tmp_path / "part"), table, "f")
    with pytest.raises(IncompleteError, match="has rows without an image_id"):
        parquet.read(str(tmp_path / "part"))


# --- Secrets ------------------------------------------------------------------------------------


@contextmanager
def refusing() -> Iterator[str]:
    """A server that refuses everything; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_errors_of_stores_do_not_show_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as address:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
        monkeypatch.setenv("AWS_SESSION_TOKEN", PASSWORD)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
        stores._remote.cache_clear()
        fetching._store.cache_clear()
        with pytest.raises(ConcordError) as raised:
            stores.read_bytes("s3://bucket/x.json")
        signed = fetching.FetchPolicy(max_attempts=1, signed=True)
        (missing,) = fetching.read_each(["s3://bucket/x.jpg"], signed, lambda number, content: content)
    stores._remote.cache_clear()
    fetching._store.cache_clear()
    assert isinstance(missing, fetching.FetchFailure)
    for told in (str(raised.value), missing.detail):
        assert "bucket/x" in told
        assert PASSWORD not in told and "AKIDEXAMPLE" not in told


@pytest.mark.parametrize("scheme", ["https", "http", "s3", "gs"])
def test_addresses_with_passwords_are_refused_and_not_repeated(scheme: str) -> None:
    """They would be kept in rejects and in the run's manifest."""
    address = f"{scheme}://user:{PASSWORD}@host/photos/{{image_id}}.jpg"
    asked: list[Callable[[], Any]] = [
        lambda: open_images.SourceSettings(dataset="d", source="open_images", images_from=address),
        lambda: ConvertSettings(dataset="d", source="svhn_h5", input=(address,)),
        lambda: fetching.check_location(address),
        lambda: stores.read_bytes(address),
    ]
    for ask in asked:
        with pytest.raises(InputError, match=rf"^{scheme}://\*\*\*@host/photos\S* holds credentials, ") as raised:
            ask()
        assert PASSWORD not in str(raised.value)


def test_messages_are_one_printable_line_without_passwords() -> None:
    error = InputError(f"cannot read https://me:{PASSWORD}@host/x\n\x1b[2J\u202e, \udcff" + "y" * 5000)
    text = str(error)
    assert text.startswith(r"cannot read https://***@host/x\n\x1b[2J\u202e, \udcff")
    assert text.isprintable() and len(text) < 2100


def test_a_runs_manifest_holds_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, PASSWORD)
    small_dataset.write_learnable(tmp_path)
    images = products.image_set(str(tmp_path), "small", "1.0.0")
    for split in ("validation", "test"):
        rows = products.label_set(str(tmp_path), "small", "human", split)
        found = [row for shard in range(rows.shards) for row in rows.read(shard).to_pylist()]
        small_dataset.write_labels(images, split, found, annotator="again")
    given = ["--dataset", "small", "--annotators", "human,again", "--root", str(tmp_path), "--direct_num_workers=1"]
    done = subprocess.run([sys.executable, "-m", "concord", "agree", *given], cwd=ROOT, capture_output=True, check=True)
    (manifest,) = (tmp_path / "runs").glob("*.json")
    assert '"annotators"' in manifest.read_text()
    assert PASSWORD not in manifest.read_text() + done.stdout.decode() + done.stderr.decode()


def test_h5py_would_have_followed_the_link(tmp_path: Path) -> None:
    """What is refused elsewhere is no idle fear: the library follows it by itself."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [7]
    with h5py.File(tmp_path / "given.h5", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/x")
    with h5py.File(tmp_path / "given.h5") as file:
        assert file["x"][0] == 7
