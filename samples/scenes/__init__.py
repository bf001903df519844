"""Scenes: photographs, as it were, with labels by a machine and verdicts by people, in the layout of Open Images.

concord draw --sample scenes --output scenes --images 1200 --seed 7

Each picture shows one to four shapes, each in one of eight colours, on a muted ground; its labels are the classes of
its shapes and colours. The folder holds:

    images/<ImageID>.jpg        pictures of about 256x192, three in ten upright
    machine.csv                 ImageID,Source,LabelName,Confidence: what a machine proposed, sorted by ImageID
    human.csv                   the same columns: what people verified; Confidence is 1 (present) or 0 (absent)
    class-descriptions.csv      id,name without a header
    truth.csv                   ImageID,LabelName: every label that is truly present, which no real data set tells
    DRAWN_BY_CONCORD.txt        this text; only a folder that holds it is ever swept and drawn anew

The machine finds about 85 % of the true labels, and its precision rises with its confidence, from about 0.35 at 0.50
to 0.97 at 0.95, differing by class. People saw about 70 % of the images; there they judged about 60 % of what the
machine had proposed, and some of what it had not; 1 % of their verdicts are wrong (`annotators.py` sets it all out).

As in real data, some of it is odd, whatever the number of pictures; the counts name each (`oddities.py`):

- `duplicate_machine_rows` (4): a matched row stands twice in machine.csv;
- `duplicate_human_rows` (4): people of both sources gave the same verdict;
- `conflicting_human_pairs` (2): people of both sources judged a proposed label, one 1, the other 0;
- `malformed_...` (1 each): a row of machine.csv has 3 fields (`too_few_fields`), an ImageID with a letter g
  (`image_id_not_hex`), confidence n/a (`confidence_not_a_number`), confidence 1.5 (`confidence_outside`); each is a
  copy of a sound row, beside it;
- `image_gone` (1): the tables name an image that has no file;
- `image_truncated`, `image_cmyk`, `image_greyscale`, `image_exif_rotated`, `image_png` (1 each): a JPEG cut at three
  fifths; one in CMYK; one without colours, though its labels still name them; one stored lying, with EXIF orientation
  6; a PNG that is called .jpg.

Each oddity has an image of its own, and that image a label that the machine proposed and people confirmed.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from samples import Estimate
from samples.scenes.annotators import Anomalies, confirmed, encode, human, machine
from samples.scenes.images import NAMES, Scene, paint, plan
from schemas.errors import InputError
from schemas.settings.draw import DrawSettings
from storage import stores

HEADER = ("ImageID", "Source", "LabelName", "Confidence")
TABLES = ("machine.csv", "human.csv", "class-descriptions.csv", "truth.csv")
MARK = "DRAWN_BY_CONCORD.txt"
_THREADS = 8  # drawing takes two at most; the others wait for disks or for an object store


def estimate(settings: DrawSettings) -> Estimate:
    """Roughly what drawing it takes."""
    return Estimate(settings.images * 8_500, settings.images / 300)


def write(settings: DrawSettings, output: str) -> dict[str, int]:
    """Draw the folder; counts of images, pictures (files), truths, rows, confirmed labels of images, and oddities.

    Duplicate, conflicting and malformed rows are among the rows; a label in conflict counts as confirmed.

    Raises:
        InputError: pictures or tables lie there that were not drawn.
    """
    scenes = sorted((plan(settings.seed, number) for number in range(settings.images)), key=lambda one: one.image_id)
    proposals = machine(scenes, settings.seed)
    verdicts = human(scenes, proposals, settings.seed)
    odd = Anomalies(proposals, verdicts, settings.seed)
    machine_lines, human_lines = odd.machine_lines(proposals), odd.human_lines(verdicts)
    truths = [(scene.image_id, label) for scene in scenes for label in sorted(scene.labels())]
    _claim(output)
    drawn = [scene for scene in scenes if odd.pictures.get(scene.image_id) != "gone"]
    _write_pictures(drawn, odd, settings.seed, output)
    tables = (
        _csv([HEADER, *machine_lines]),
        _csv([HEADER, *human_lines]),
        _csv(sorted(NAMES.items())),
        _csv([("ImageID", "LabelName"), *truths]),
    )
    for name, table in zip(TABLES, tables, strict=True):
        stores.write_bytes(stores.join(output, name), table)
    return {
        "images": len(scenes),
        "pictures": len(drawn),
        "truths": len(truths),
        "machine_rows": len(machine_lines),
        "human_rows": len(human_lines),
        "confirmed": sum(map(len, confirmed(proposals, verdicts).values())),
        **odd.counts(),
    }


def is_there(settings: DrawSettings, output: str) -> bool:
    """Whether the tables are there, and as many pictures as there should be."""
    names = stores.list_files(output)
    return set(TABLES) <= names.keys() and len(_pictures(output)) == settings.images - 1


def _pictures(output: str) -> list[str]:
    folder = stores.join(output, "images")
    return [stores.join(folder, name) for name in stores.list_files(folder) if name.endswith(".jpg")]


def _claim(output: str) -> None:
    """Make the folder ours, and sweep an earlier drawing away: its pictures bear other names."""
    names, pictures = stores.list_files(output), _pictures(output)
    foreign = sorted({*TABLES} & names.keys()) or sorted(path.rsplit("/", 1)[-1] for path in pictures)
    if foreign and MARK not in names:
        raise InputError(f"{output} holds {foreign[0]}, which was not drawn: choose another --output")
    stores.write_bytes(stores.join(output, MARK), str(__doc__).encode())
    for name in sorted({*TABLES} & names.keys()):
        stores.remove(stores.join(output, name))
    for folder in (output, stores.join(output, "images")):
        stores.remove_partial_files(folder)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(stores.remove, pictures))


def _write_pictures(scenes: Sequence[Scene], odd: Anomalies, seed: int, output: str) -> None:
    def draw(scene: Scene) -> None:
        data = encode(paint(scene, seed), odd.pictures.get(scene.image_id))
        stores.write_bytes(stores.join(output, "images", f"{scene.image_id}.jpg"), data)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(draw, scenes))  # the first error ends it: what is not begun by then is left undone


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()
