"""Scenes: synthetic photographs with machine labels and human verdicts, in the layout of Open Images.

concord draw --sample scenes --output scenes --images 1200 --seed 7

Each image shows one to four shapes, each in one of eight colours, on a muted background; its labels are the classes of
its shapes and colours. The folder has:

    images/<ImageID>.jpg        images of about 256x192, three in ten upright
    machine.csv                 ImageID,Source,LabelName,Confidence: what a machine proposed, sorted by ImageID
    human.csv                   the same columns: what humans verified; Confidence is 1 (present) or 0 (absent)
    class-descriptions.csv      id,name without a header
    true_labels.csv             ImageID,LabelName: every label that is actually present, which no real data set states
    DRAWN_BY_CONCORD.txt        this text; only a folder that has it is ever cleared and drawn again

The machine finds about 85 % of the true labels, and its precision rises with its confidence, from about 0.35 at 0.50
to 0.97 at 0.95, differing by class. Humans saw about 70 % of the images; there they judged about 60 % of what the
machine had proposed, and some labels that it had not; 1 % of their verdicts are wrong (see `annotators.py`).

As in real data there are anomalies, whatever the number of images; the counts name each:

- `duplicate_machine_rows` (4): a matched row occurs twice in machine.csv;
- `duplicate_human_rows` (4): humans of both sources gave the same verdict;
- `conflicting_human_pairs` (2): humans of both sources judged a proposed label, one 1, the other 0;
- `malformed_...` (1 each): a row of machine.csv has 3 fields (`too_few_fields`), an ImageID with a letter g
  (`image_id_not_hex`), confidence n/a (`confidence_not_a_number`), confidence 1.5 (`confidence_outside`); each is a
  copy of a valid row, beside it;
- `image_gone` (1): the tables name an image that has no file;
- `image_truncated`, `image_cmyk`, `image_greyscale`, `image_exif_rotated`, `image_png` (1 each): a JPEG truncated at
  three fifths; one in CMYK; one without colours, though its labels still name them; one stored on its side, with EXIF
  orientation 6; a PNG that is called .jpg.

Each anomaly has an image of its own, with a label that the machine proposed and humans confirmed.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from samples import Estimate
from samples.scenes.annotators import Anomalies, confirmed_labels, encode, propose_labels, verify_labels
from samples.scenes.images import NAMES, Scene, paint_scene, plan_scene
from schemas.errors import InputError
from schemas.settings.draw import DrawSettings
from storage import stores

HEADER = ("ImageID", "Source", "LabelName", "Confidence")
TABLES = ("machine.csv", "human.csv", "class-descriptions.csv", "true_labels.csv")
MARK = "DRAWN_BY_CONCORD.txt"
_THREADS = 8  # drawing occupies two at most; the others wait for disks or an object store


def estimate(settings: DrawSettings) -> Estimate:
    """Roughly what drawing it costs."""
    return Estimate(settings.images * 8_500, settings.images / 300)


def write(settings: DrawSettings, output: str) -> dict[str, int]:
    """Draw the folder; return counts of images, files, true labels, rows, confirmed labels, and anomalies.

    Duplicate, conflicting and malformed rows are among the rows; a label in conflict counts as confirmed.

    Raises:
        InputError: the folder has images or tables that were not drawn.
    """
    scenes = sorted(
        (plan_scene(settings.seed, number) for number in range(settings.images)), key=lambda one: one.image_id
    )
    proposals = propose_labels(scenes, settings.seed)
    verdicts = verify_labels(scenes, proposals, settings.seed)
    anomalies = Anomalies(proposals, verdicts, settings.seed)
    machine_lines, human_lines = anomalies.machine_lines(proposals), anomalies.human_lines(verdicts)
    true_labels = [(scene.image_id, label) for scene in scenes for label in sorted(scene.labels())]
    _clear_folder(output)
    painted = [scene for scene in scenes if anomalies.images.get(scene.image_id) != "gone"]
    _write_images(painted, anomalies, settings.seed, output)
    tables = (
        _csv([HEADER, *machine_lines]),
        _csv([HEADER, *human_lines]),
        _csv(sorted(NAMES.items())),
        _csv([("ImageID", "LabelName"), *true_labels]),
    )
    for name, table in zip(TABLES, tables, strict=True):
        stores.write_bytes(stores.join(output, name), table)
    return {
        "images": len(scenes),
        "image_files": len(painted),
        "true_labels": len(true_labels),
        "machine_rows": len(machine_lines),
        "human_rows": len(human_lines),
        "confirmed": sum(map(len, confirmed_labels(proposals, verdicts).values())),
        **anomalies.counts(),
    }


def exists(settings: DrawSettings, output: str) -> bool:
    """Whether all tables exist, and as many image files as there should be."""
    names = stores.list_files(output)
    return set(TABLES) <= names.keys() and len(_image_files(output)) == settings.images - 1


def _image_files(output: str) -> list[str]:
    folder = stores.join(output, "images")
    return [stores.join(folder, name) for name in stores.list_files(folder) if name.endswith(".jpg")]


def _clear_folder(output: str) -> None:
    """Mark the folder as ours, and remove an earlier drawing: its images have other names."""
    names, images = stores.list_files(output), _image_files(output)
    tables = sorted({*TABLES} & names.keys())
    others = tables or sorted(path.rsplit("/", 1)[-1] for path in images)
    if others and MARK not in names:
        raise InputError(f"{output} holds {others[0]}, which was not drawn: choose another --output")
    stores.write_bytes(stores.join(output, MARK), str(__doc__).encode())
    for name in tables:
        stores.remove(stores.join(output, name))
    for folder in (output, stores.join(output, "images")):
        stores.remove_partial_files(folder)
    stores.map_threads(stores.remove, images, _THREADS)


def _write_images(scenes: Sequence[Scene], anomalies: Anomalies, seed: int, output: str) -> None:
    def draw(scene: Scene) -> None:
        data = encode(paint_scene(scene, seed), anomalies.images.get(scene.image_id))
        stores.write_bytes(stores.join(output, "images", f"{scene.image_id}.jpg"), data)

    stores.map_threads(draw, scenes, _THREADS)  # the first error ends it: what is not begun by then is left undone


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()
