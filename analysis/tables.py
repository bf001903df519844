"""The tables that analysts read: comparisons, label sets and rejects, each checked to be whole and of one making.

A shard is read, queried with DuckDB and let go, so that memory does not grow with the number of images.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from analysis import all_together, generations
from analysis.all_together import Together
from analysis.confirmation import SIDES, Confirmation, find_confirmation
from analysis.generations import Study
from schemas import layout
from schemas.errors import IncompleteError
from schemas.manifests import IMPORT, MULTILABEL
from schemas.settings import ReportSettings
from schemas.tables import ALL
from storage import comparisons, model_cards, parquet, products, stores
from storage.products import ImageSet, ShardFolder

Row = dict[str, Any]

_READERS = 8  # shards in memory at once, at most
_AGREE_FIRST = "run concord agree first"
_CELLS = "SELECT label_a, label_b, reference, count(*) AS n FROM shard GROUP BY ALL"
_SUMMED = "SELECT label_a, label_b, reference, sum(n)::BIGINT AS n FROM shard GROUP BY ALL ORDER BY ALL"
_REASONS = (
    "SELECT reason, count(*) AS n, min(image_id) AS image_id, arg_min(source, image_id) AS source,"
    " arg_min(position, image_id) AS position, arg_min(detail, image_id) AS detail"
    " FROM shard GROUP BY reason ORDER BY reason"
)


@dataclass(frozen=True)
class Pair:
    """A finished comparison of two annotators on one split."""

    root: str
    dataset: str
    a: str
    b: str
    split: str
    manifest: Row

    @property
    def fingerprint(self) -> str:
        """Of the label sets it was made from; its aggregated tables carry the same."""
        return str(self.manifest["fingerprint"])

    @property
    def truth(self) -> str:
        """How to call the annotator taken as truth."""
        return str(self.manifest.get("truth") or "the truth")

    @property
    def shards(self) -> ShardFolder:
        """Its rows."""
        folder = layout.pairs(self.root, self.dataset, self.a, self.b, self.split)
        return ShardFolder(folder, self.manifest["shards"], self.fingerprint)

    @property
    def several(self) -> bool:
        """Whether images have several labels; then its rows are of an image and a label each."""
        return self.manifest.get("task") == MULTILABEL

    def summary(self) -> Row:
        """Its figures over all labels: the row of the summary, and the measures that the summary does not hold."""
        row: Row = self.table("summary").to_pylist()[0]
        return {one["measure"]: one["value"] for one in self.measures(ALL)} | row

    def measures(self, scope: str) -> list[Row]:
        """Its measures over all labels, or of each label, a row each."""
        rows: list[Row] = self.table("measures").filter(pc.field("scope") == scope).to_pylist()
        return rows

    def confusion(self) -> list[Row]:
        """How often a gave one label and b another: a row for each combination that occurs."""
        rows: list[Row] = self.table("confusion").to_pylist()
        return rows

    def table(self, name: str) -> pa.Table:
        """One of its tables.

        Raises:
            IncompleteError: it is missing, or of another state of the labels.
        """
        path = layout.agreement_table(self.root, name, self.dataset, (self.a, self.b), self.split)
        if stores.stat(path) is None:
            raise IncompleteError(f"there is no {name} table of {self.a} and {self.b} in {path}: {_AGREE_FIRST}")
        return parquet.read(path, self.fingerprint)


@dataclass(frozen=True)
class LabelSet:
    """A finished label set, as its manifest tells of it."""

    annotator: str
    split: str
    manifest: Row


@dataclass(frozen=True)
class Explanations:
    """Pictures of where a network looked, as their manifest tells of them.

    Attributes:
        stale: whether they are of other images, or of another state of the network, than those that are there now.
    """

    annotator: str
    split: str
    manifest: Row
    stale: bool


@dataclass(frozen=True)
class Sources:
    """Everything that the report is drawn from.

    Attributes:
        images: None where the dataset has none.
        pairs: the finished comparisons, if there are any.
        unfinished: (a, b, split) of the comparisons that are begun and not whole.
        confirmation: None where no people's verdicts were joined.
        models: the cards of the models, in the order in which they are shown.
    """

    dataset: str
    images: ImageSet | None
    pairs: tuple[Pair, ...]
    unfinished: tuple[tuple[str, ...], ...]
    confirmation: Confirmation | None
    models: tuple[Row, ...]
    label_sets: tuple[LabelSet, ...]
    explanations: tuple[Explanations, ...] = ()
    studies: tuple[Study, ...] = ()
    together: tuple[Together, ...] = ()

    @property
    def classes(self) -> list[str]:
        """Class names, in the dataset's order; none where they are not known."""
        if self.images is not None:
            return self.images.classes
        return [] if self.confirmation is None else list(self.confirmation.manifest["classes"])


@dataclass(frozen=True)
class Digest:
    """What the rows of a comparison come to.

    Attributes:
        cells: how often each combination of `label_a`, `label_b` and `reference` occurs (`n`), in that order.
        disagreements: the rows on which both were most confident of different labels, the surest first.
    """

    cells: tuple[Row, ...]
    disagreements: tuple[Row, ...]


def find_sources(settings: ReportSettings, root: str) -> Sources:
    """What the report of a dataset is to be drawn from.

    Raises:
        IncompleteError: there is nothing to show, the images are half made, or a model that the settings name is not
            there.
    """
    dataset = settings.dataset
    images = _find_images(root, dataset, settings.version)
    pairs, unfinished, confirmation = find_results(root, dataset)
    studies = generations.find(root, dataset)
    models = _find_models(root, dataset, settings.models, studies)
    labels, explanations = _find_label_sets(root, dataset), _find_explanations(root, dataset, images)
    found = dataset, images, pairs, unfinished, confirmation, models, labels, explanations, studies
    return Sources(*found, all_together.find(root, dataset, [pair.manifest for pair in pairs]))


def find_results(root: str, dataset: str) -> tuple[tuple[Pair, ...], tuple[tuple[str, ...], ...], Confirmation | None]:
    """The finished comparisons of a dataset, (a, b, split) of those that are not whole, and what people confirmed.

    Comparisons that studies of generations are made of are left out: their tables tell of them.

    Raises:
        IncompleteError: nothing of it is finished.
    """
    studies = generations.find(root, dataset)
    pairs, unfinished = _find_pairs(root, dataset, studies)
    confirmation = find_confirmation(root, dataset)
    if not pairs and confirmation is None and not studies and not _find_models(root, dataset, (), ()):
        raise IncompleteError(
            f"there are neither agreement tables nor label statistics nor networks of dataset {dataset!r} in {root}: "
            "run concord agree, confirm or train first"
        )
    return pairs, unfinished, confirmation


def _find_images(root: str, dataset: str, version: str) -> ImageSet | None:
    """The images, or None where no version of the dataset has any."""
    anywhere = stores.parent(layout.images(root, dataset, version))
    return products.image_set(root, dataset, version) if stores.list_folders(anywhere) else None


def _find_pairs(
    root: str, dataset: str, studies: Sequence[Study]
) -> tuple[tuple[Pair, ...], tuple[tuple[str, ...], ...]]:
    every = comparisons.find(root, dataset)
    found = {key: one for key, one in every.items() if not any(study.compares(*key[:2]) for study in studies)}
    pairs = [Pair(root, dataset, *key, manifest) for key, manifest in found.items() if manifest is not None]
    return tuple(pairs), tuple(key for key, manifest in found.items() if manifest is None)


def _find_models(root: str, dataset: str, names: Sequence[str], studies: Sequence[Study]) -> tuple[Row, ...]:
    """The cards of the models named, or of all that are whole and are no heirs of a study of generations."""
    if names:
        return tuple(model_cards.require_card(layout.model(root, dataset, name)) for name in names)
    found = [
        model_cards.find_card(layout.model(root, dataset, name))
        for (name,) in stores.partitions(layout.model(root, dataset, ""), 1)
        if not any(name in study.annotators for study in studies)
    ]
    return tuple(card for card in found if card is not None)


def _find_label_sets(root: str, dataset: str) -> tuple[LabelSet, ...]:
    found = []
    for annotator, split in stores.partitions(layout.labels(root, dataset, "", ""), 2):
        manifest = products.find_manifest(layout.labels(root, dataset, annotator, split))
        if manifest is not None:
            found.append(LabelSet(annotator, split, manifest))
    return tuple(found)


def _find_explanations(root: str, dataset: str, images: ImageSet | None) -> tuple[Explanations, ...]:
    found = []
    for annotator, split in stores.partitions(layout.explanations(root, dataset, "", ""), 2):
        manifest = products.find_manifest(layout.explanations(root, dataset, annotator, split))
        if manifest is not None:
            card = model_cards.find_card(layout.model(root, dataset, annotator)) or {}
            now = (images.fingerprint if images else "", card.get("weights_sha256"))
            stale = (manifest["images"], manifest["weights"]) != now
            found.append(Explanations(annotator, split, manifest, stale))
    return tuple(found)


def digest(pair: Pair, limit: int) -> Digest:
    """Count the rows of a comparison, and pick its `limit` most confident disagreements; nothing where it kept none."""
    if not pair.manifest.get("pairs", True):
        return Digest((), ())

    def one(shard: int) -> tuple[pa.Table, pa.Table]:
        rows = read_shard(pair.shards, shard, _AGREE_FIRST)
        return query(_CELLS, rows), comparisons.most_confident(rows, limit)

    with ThreadPoolExecutor(_READERS) as pool:
        cells, confident = zip(*pool.map(one, range(pair.shards.shards)), strict=True)
    counted = query(_SUMMED, pa.concat_tables(cells))
    ranked = comparisons.most_confident(pa.concat_tables(confident), limit)
    return Digest(tuple(counted.to_pylist()), tuple(ranked.to_pylist()))


def first_labelled(images: ImageSet, pairs: Sequence[Pair], limit: int) -> list[Row]:
    """The first images of a split, in shard order, that a comparison speaks of.

    Shard order is the order of a hash of the ids, so the first images are as good as drawn at random.

    Args:
        images: the dataset.
        pairs: comparisons, all of one split.
        limit: how many images, at most.

    Returns:
        rows of `image_id`, `truth` (None where not known) and `labels`: (label, confidence) by annotator.
    """
    found: dict[str, Row] = {}
    shards = max(images.shards, *(pair.shards.shards for pair in pairs))
    for shard in range(shards):
        read = [(pair, read_finer(pair.shards, shard, shards, _AGREE_FIRST)) for pair in pairs]
        ids = read_finer(images.index(pairs[0].split), shard, shards, "run concord convert first")["image_id"]
        spoken_of = pa.chunked_array([chunk for _, rows in read for chunk in rows["image_id"].chunks], pa.string())
        chosen = ids.filter(pc.is_in(ids, value_set=spoken_of)).slice(0, limit - len(found)).combine_chunks()
        found |= {image_id: {"image_id": image_id, "truth": None, "labels": {}} for image_id in chosen.to_pylist()}
        for pair, rows in read:
            of_chosen = rows.filter(pc.is_in(rows["image_id"], value_set=chosen)).to_pylist()
            for row in group_by_image(of_chosen) if pair.several else of_chosen:
                image = found[row["image_id"]]
                image["truth"] = row["reference"] if image["truth"] is None else image["truth"]
                image["labels"] |= labels_of(pair, row)
        if len(found) == limit:
            break
    return list(found.values())


def labels_of(pair: Pair, row: Row) -> dict[str, tuple[str, float]]:
    """Label and confidence by annotator, of a row of a comparison."""
    return {pair.a: (row["label_a"], row["confidence_a"]), pair.b: (row["label_b"], row["confidence_b"])}


def rejects(sources: Sources, root: str) -> list[Row]:
    """The rejected records of every stage by reason, each with an example.

    Returns:
        rows of `stage`, `annotator` (empty for convert; the side for confirm), `split` (empty for confirm), `reason`,
        `n`, and the example's `image_id`, `source`, `position`, `detail`.
    """
    rows = []
    for stage, annotator, split, rejected in _rejected(sources, root):
        by_reason = query(_REASONS, rejected).to_pylist()
        rows += [{"stage": stage, "annotator": annotator, "split": split, **row} for row in by_reason]
    return rows


def _rejected(sources: Sources, root: str) -> Iterator[tuple[str, str, str, pa.Table]]:
    """Stage, annotator, split and rows of all that was rejected."""
    if sources.images is not None:
        for split, counts in sources.images.manifest["splits"].items():
            if counts["rejected"]:
                folder = layout.convert_rejects(root, sources.dataset, split)
                shards = ShardFolder(folder, sources.images.shards, sources.images.fingerprint)
                yield "convert", "", split, _read_all(shards, "run concord convert again")
    for found in sources.label_sets:
        manifest = found.manifest
        if manifest.get("counts", {}).get("rejected"):
            stage = IMPORT if manifest.get("stage") == IMPORT else "label"
            place = layout.import_rejects if stage == IMPORT else layout.label_rejects
            folder = place(root, sources.dataset, found.annotator, found.split)
            shards = ShardFolder(folder, manifest["shards"], manifest["fingerprint"])
            yield stage, found.annotator, found.split, _read_all(shards, f"run concord {stage} again")
    for asked in sources.explanations:
        if asked.manifest["counts"]["rejected"] and not asked.stale:
            folder = layout.explain_rejects(root, sources.dataset, asked.annotator, asked.split)
            shards = ShardFolder(folder, asked.manifest["shards"], asked.manifest["fingerprint"])
            yield (
                "explain",
                asked.annotator,
                asked.split,
                read_parts(shards, asked.manifest, "run concord explain again"),
            )
    if sources.confirmation is not None:
        for side in SIDES:
            yield "confirm", side, "", sources.confirmation.rejects(side)


def _read_all(folder: ShardFolder, remedy: str) -> pa.Table:
    return pa.concat_tables([read_shard(folder, shard, remedy) for shard in range(folder.shards)])


def read_parts(folder: ShardFolder, manifest: Row, remedy: str) -> pa.Table:
    """The rows of a product that has only some of its shards, which its manifest names."""
    return pa.concat_tables([read_shard(folder, shard, remedy) for shard in manifest["parts"]])


def read_shard(folder: ShardFolder, shard: int, remedy: str) -> pa.Table:
    """One shard of a product.

    Raises:
        IncompleteError: it is missing, or was made from something else than its manifest says.
    """
    return read_finer(folder, shard, folder.shards, remedy)


def read_finer(folder: ShardFolder, shard: int, shards: int, remedy: str) -> pa.Table:
    """One shard of a product, of as many shards as it has or more: label sets may have fewer than their images.

    Raises:
        IncompleteError: it is missing, or was made from something else than its manifest says.
    """
    path = folder.path(shard * folder.shards // shards)
    if stores.stat(path) is None:
        raise IncompleteError(f"{path} is missing: {remedy}")
    return folder.read_part(shard, shards)


def query(sql: str, shard: pa.Table) -> pa.Table:
    """The rows that a DuckDB statement selects from an Arrow table, which it calls `shard`."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("shard", shard)
        return connection.sql(sql).to_arrow_table()


# Rows of an image and label each, as a comparison of several labels keeps them, as rows of an image.

_NONE = "none"


def group_by_image(rows: Iterable[Row]) -> list[Row]:
    """Rows of an image and a label each as rows of an image: each one's labels in one text, without a confidence."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["image_id"], []).append(row)
    return [
        {
            "image_id": image_id,
            "reference": _joined(found, "reference") if any(row["correct_a"] is not None for row in found) else None,
            **{f"label_{side}": _joined(found, f"label_{side}") for side in "ab"},
            **{f"confidence_{side}": None for side in "ab"},
        }
        for image_id, found in grouped.items()
    ]


def _joined(rows: Iterable[Row], column: str) -> str:
    return ", ".join(sorted(row[column] for row in rows if row[column] is not None)) or _NONE
