"""What a root holds that the report shows: comparisons, label sets, verdicts and studies, each whole and of one state.

A shard is read, queried with DuckDB and let go, so that memory does not grow with the number of images.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from metrics import classification
from schemas import layout, tables
from schemas.errors import IncompleteError
from schemas.manifests import (
    MULTILABEL,
    ConfirmationManifest,
    LabelsManifest,
    ModelCard,
    PairsManifest,
    ScoresManifest,
)
from schemas.settings.report import ReportSettings
from storage import model_cards, parquet, products, stores
from storage.products import ImageSet, ShardFolder

Row = dict[str, Any]

AGREE_FIRST, CONFIRM_AGAIN = "run concord agree first", "run concord confirm with --force"
DISAGREEMENTS = 24  # of each comparison that are shown
SIDES = ("machine", "human")  # of a confirmation

_READERS = 8  # shards in memory at once, at most
_CELLS = "SELECT label_a, label_b, reference, count(*) AS n FROM shard GROUP BY ALL"
_SUMMED = "SELECT label_a, label_b, reference, sum(n)::BIGINT AS n FROM shard GROUP BY ALL ORDER BY ALL"


@dataclass(frozen=True)
class Pair:
    """A finished comparison of two annotators on one split."""

    root: str
    dataset: str
    a: str
    b: str
    split: str
    manifest: PairsManifest

    @property
    def fingerprint(self) -> str:
        """Of the label sets it was made from; its aggregated tables carry the same."""
        return self.manifest.fingerprint

    @property
    def reference(self) -> str:
        """How to call the annotator that the others are evaluated against."""
        return self.manifest.reference or "the reference"

    @property
    def reference_labels(self) -> str:
        """How to call its labels in a sentence."""
        return "the human labels" if self.reference == "human" else f"the labels of {self.reference}"

    @property
    def shards(self) -> ShardFolder:
        """Its rows."""
        folder = layout.pairs(self.root, self.dataset, self.a, self.b, self.split)
        return ShardFolder(folder, self.manifest.shards, self.fingerprint)

    @property
    def is_multilabel(self) -> bool:
        """Whether images have several labels; then there is one row per image and label."""
        return self.manifest.task == MULTILABEL

    def summary(self) -> Row:
        """Its figures over all labels: the row of the summary, and the measures that the summary does not hold."""
        row: Row = self.table("summary").to_pylist()[0]
        return {one["measure"]: one["value"] for one in self.measures(tables.ALL)} | row

    def measures(self, scope: str) -> list[Row]:
        """Its measures over all labels, or of each label: one row each."""
        rows: list[Row] = self.table("measures").filter(pc.field("scope") == scope).to_pylist()
        return rows

    def confusion(self) -> list[Row]:
        """How often a gave one label and b another: one row per combination that occurs."""
        rows: list[Row] = self.table("confusion").to_pylist()
        return rows

    def table(self, name: str) -> pa.Table:
        """One of its tables.

        Raises:
            IncompleteError: it is missing, or of another state of the labels.
        """
        path = layout.agreement_table(self.root, name, self.dataset, (self.a, self.b), self.split)
        if stores.stat(path) is None:
            raise IncompleteError(f"there is no {name} table of {self.a} and {self.b} in {path}: {AGREE_FIRST}")
        return parquet.read(path, self.fingerprint)

    def optional_rows(self, name: str, schema: pa.Schema) -> list[Row]:
        """The rows of one of its tables; empty where it is missing, or of another state of the labels."""
        path = layout.agreement_table(self.root, name, self.dataset, (self.a, self.b), self.split)
        if stores.stat(path) is None or parquet.read_tags(path)[0] != self.fingerprint:
            return []
        rows: list[Row] = parquet.read(path, self.fingerprint, schema).to_pylist()
        return rows

    def rows_of(self, name: str, annotators: Sequence[str]) -> list[Row]:
        """The rows of a table of some annotators of this split; empty where it is missing."""
        path = layout.agreement_table(self.root, name, self.dataset, annotators, self.split)
        rows: list[Row] = [] if stores.stat(path) is None else parquet.read(path).to_pylist()
        return rows


@dataclass(frozen=True)
class Digest:
    """What the rows of a comparison come to.

    Attributes:
        cells: how often each combination of `label_a`, `label_b` and `reference` occurs (`n`), in that order.
        disagreements: the rows on which both were most confident of different labels, the most confident first.
    """

    cells: tuple[Row, ...]
    disagreements: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """A pair of annotators on one split, with all that its tables say."""

    pair: Pair
    summary: Row
    confusion: list[Row]
    digest: Digest


@dataclass(frozen=True)
class LabelSet:
    """A finished label set, as its manifest describes it."""

    annotator: str
    split: str
    manifest: LabelsManifest


@dataclass(frozen=True)
class ExplanationSet:
    """Heat maps of a network, as their manifest describes them.

    Attributes:
        is_stale: whether they are of other images, or of another state of the network, than those that are there now.
    """

    annotator: str
    split: str
    manifest: ScoresManifest
    is_stale: bool


@dataclass(frozen=True)
class Confirmation:
    """A finished confirmation of a dataset's machine labels; its tables are read when they are needed."""

    root: str
    dataset: str
    manifest: ConfirmationManifest

    @property
    def fingerprint(self) -> str:
        """Of the files and settings it was made from; all of its tables carry the same."""
        return self.manifest.fingerprint

    @property
    def counts(self) -> Row:
        """Where every row went."""
        return self.manifest.counts

    @cached_property
    def labels(self) -> pa.Table:
        """Counts and precision of the machine, of every scope."""
        return self._table("machine_precision")

    @property
    def overall(self) -> Row:
        """Counts and precision over all classes and confidences."""
        return self.figures("all")[0]

    def figures(self, scope: str, labels: Sequence[str] | None = None) -> list[Row]:
        """Counts and precision of one scope: all, decile, class, class_decile; of some labels, or of all."""
        chosen = self.labels.filter(pc.equal(self.labels["scope"], scope))
        if labels is not None:
            chosen = chosen.filter(pc.is_in(chosen["label"], value_set=pa.array(labels, pa.string())))
        rows: list[Row] = chosen.to_pylist()
        return rows

    def labels_per_image(self) -> list[Row]:
        """How many images have so many labels, of each annotator."""
        rows: list[Row] = self._table("labels_per_image").to_pylist()
        return rows

    def sources(self) -> list[Row]:
        """What each source of human verdicts says."""
        rows: list[Row] = self._table("verdict_sources").to_pylist()
        return rows

    def rejects(self, side: str) -> pa.Table:
        """The malformed rows of a side.

        Raises:
            IncompleteError: there are not as many as were counted.
        """
        folder = layout.confirm_rejects(self.root, self.dataset, side)
        paths = [stores.join(folder, name) for name in sorted(stores.list_files(folder)) if name.endswith(".parquet")]
        parts = [parquet.read(path, self.fingerprint).select(tables.REJECTS.names) for path in paths]
        rows = pa.concat_tables([tables.REJECTS.empty_table(), *parts])
        expected = sum(self.counts[side]["malformed"].values())
        if rows.num_rows != expected:
            raise IncompleteError(
                f"{folder} holds {rows.num_rows} rejected rows instead of {expected}: {CONFIRM_AGAIN}"
            )
        return rows

    def _table(self, name: str) -> pa.Table:
        path = layout.statistics_table(self.root, name, self.dataset)
        if stores.stat(path) is None:
            raise IncompleteError(f"there is no {name} table of dataset {self.dataset!r} in {path}: {CONFIRM_AGAIN}")
        return parquet.read(path, self.fingerprint)


@dataclass(frozen=True)
class Study:
    """A study of generations, as its table holds it.

    Attributes:
        fingerprint: of all that the table was made from.
        rows: one per network, and one for the mean over seeds of those that are alike.
    """

    name: str
    fingerprint: str
    rows: tuple[Row, ...]

    @property
    def annotators(self) -> set[str]:
        """The networks of the study."""
        return {row["annotator"] for row in self.rows if row["annotator"]}

    def compares(self, a: str, b: str) -> bool:
        """Whether the study itself compares two annotators: two of its networks, or what one teaches with humans."""
        pools = {row["label_set"] for row in self.rows if row["cut"] is not None and row["label_set"]}
        return a in pools or {a, b} <= self.annotators


@dataclass(frozen=True)
class GroupAgreement:
    """The agreement of three or more annotators of one split.

    Attributes:
        figures: their measures over all labels and the ends of the intervals, by name.
        methods: how the interval of each figure was made.
        fingerprint: of the label sets.
    """

    split: str
    annotators: tuple[str, ...]
    figures: Row
    methods: Mapping[str, str]
    fingerprint: str


@dataclass(frozen=True)
class Sources:
    """Everything that the report of a dataset is made from; each part is read when it is first needed."""

    root: str
    settings: ReportSettings

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.settings.dataset

    @cached_property
    def images(self) -> ImageSet | None:
        """The images; None where no version of the dataset has any."""
        versions = stores.parent(layout.images(self.root, self.dataset, self.settings.version))
        if not stores.list_folders(versions):
            return None
        return products.image_set(self.root, self.dataset, self.settings.version)

    @cached_property
    def _manifests(self) -> dict[tuple[str, str, str], PairsManifest | None]:
        """Of the comparisons that no study is made of."""
        every = products.find_comparisons(self.root, self.dataset)
        return {key: one for key, one in every.items() if not any(study.compares(*key[:2]) for study in self.studies)}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The finished comparisons; those that studies of generations are made of are in the studies' tables."""
        return tuple(
            Pair(self.root, self.dataset, *key, one) for key, one in self._manifests.items() if one is not None
        )

    @property
    def unfinished(self) -> tuple[tuple[str, str, str], ...]:
        """(a, b, split) of the comparisons that are begun and not whole."""
        return tuple(key for key, one in self._manifests.items() if one is None)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The finished comparisons, with all that their tables say."""
        return tuple(
            Comparison(pair, pair.summary(), pair.confusion(), digest(pair, DISAGREEMENTS)) for pair in self.pairs
        )

    @cached_property
    def groups(self) -> tuple[GroupAgreement, ...]:
        """The agreement of three or more annotators, at most one per split."""
        return find_groups(self.root, self.dataset, [pair.manifest for pair in self.pairs])

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """What humans confirmed; None where no verdicts were joined."""
        return find_confirmation(self.root, self.dataset)

    @cached_property
    def studies(self) -> tuple[Study, ...]:
        """The studies of generations that are whole."""
        return find_studies(self.root, self.dataset)

    @cached_property
    def models(self) -> tuple[ModelCard, ...]:
        """The cards of the models that the settings name, or of all that are whole and no students of a study."""
        if self.settings.models:
            folders = [layout.model(self.root, self.dataset, name) for name in self.settings.models]
            return tuple(model_cards.require_card(folder) for folder in folders)
        cards = [
            model_cards.find_card(layout.model(self.root, self.dataset, name))
            for (name,) in stores.partitions(layout.model(self.root, self.dataset, ""), 1)
            if not any(name in study.annotators for study in self.studies)
        ]
        return tuple(card for card in cards if card is not None)

    @cached_property
    def label_sets(self) -> tuple[LabelSet, ...]:
        """The finished label sets."""
        sets = []
        for annotator, split in stores.partitions(layout.labels(self.root, self.dataset, "", ""), 2):
            manifest = products.find_manifest(layout.labels(self.root, self.dataset, annotator, split), LabelsManifest)
            if manifest is not None:
                sets.append(LabelSet(annotator, split, manifest))
        return tuple(sets)

    @cached_property
    def explanations(self) -> tuple[ExplanationSet, ...]:
        """The finished sets of heat maps."""
        sets = []
        for annotator, split in stores.partitions(layout.explanations(self.root, self.dataset, "", ""), 2):
            folder = layout.explanations(self.root, self.dataset, annotator, split)
            manifest = products.find_manifest(folder, ScoresManifest)
            if manifest is not None:
                card = model_cards.find_card(layout.model(self.root, self.dataset, annotator))
                current = (self.images.fingerprint if self.images else "", card.weights_sha256 if card else "")
                is_stale = (manifest.images, manifest.weights) != current
                sets.append(ExplanationSet(annotator, split, manifest, is_stale))
        return tuple(sets)

    @property
    def classes(self) -> list[str]:
        """Class names, in the dataset's order; none where they are not known."""
        if self.images is not None:
            return self.images.classes
        return [] if self.confirmation is None else self.confirmation.manifest.classes

    @cached_property
    def fingerprint(self) -> str:
        """Of all that the page is made from now."""
        return products.fingerprint(
            "report",
            settings=self.settings.identity(),
            images=self.images and self.images.fingerprint,
            pairs=[(pair.a, pair.b, pair.split, pair.fingerprint) for pair in self.pairs],
            unfinished=self.unfinished,
            confirmation=self.confirmation and self.confirmation.fingerprint,
            models=[(card.name, card.fingerprint) for card in self.models],
            studies=[(study.name, study.fingerprint) for study in self.studies],
            explanations=[
                (one.annotator, one.split, one.manifest.fingerprint, one.is_stale) for one in self.explanations
            ],
            groups=[(one.split, one.annotators, one.fingerprint) for one in self.groups],
            labels=[(one.annotator, one.split, one.manifest.fingerprint) for one in self.label_sets],
        )


def find_sources(settings: ReportSettings, root: str) -> Sources:
    """What the report of a dataset is made from.

    Raises:
        IncompleteError: there is nothing to show, or a model that the settings name is not there.
    """
    sources = Sources(root, settings)
    if not (sources.pairs or sources.confirmation or sources.studies or sources.models):
        raise IncompleteError(
            f"there are neither agreement tables nor label statistics nor networks of dataset {settings.dataset!r} in "
            f"{root}: run concord agree, confirm or train first"
        )
    return sources


def find_confirmation(root: str, dataset: str) -> Confirmation | None:
    """The finished confirmation of a dataset, if there is one."""
    manifest = products.find_manifest(layout.confirmation(root, dataset), ConfirmationManifest)
    return None if manifest is None else Confirmation(root, dataset, manifest)


def find_studies(root: str, dataset: str) -> tuple[Study, ...]:
    """The studies of a dataset that are whole, by name.

    Raises:
        IncompleteError: a table is damaged.
    """
    folder, start, end = layout.generations(root), f"{dataset}-", ".parquet"
    paths = {name: stores.join(folder, name) for name in sorted(stores.list_files(folder))}
    return tuple(
        Study(name[len(start) : -len(end)], parquet.read_tags(path)[0], tuple(parquet.read(path).to_pylist()))
        for name, path in paths.items()
        if name.startswith(start) and name.endswith(end)
    )


def find_groups(root: str, dataset: str, manifests: Sequence[PairsManifest]) -> tuple[GroupAgreement, ...]:
    """For each split the table of most annotators, all of which are compared two by two.

    A table of another state of the labels is excluded.

    Args:
        root: where everything is kept.
        dataset: its name.
        manifests: of the comparisons of two.

    Raises:
        IncompleteError: a table is damaged.
    """
    pairs = {(one.split, frozenset((one.annotator_a, one.annotator_b))): one.labels for one in manifests}
    groups: dict[str, GroupAgreement] = {}
    folder = stores.parent(layout.agreement_table(root, "measures", dataset, (), ""))
    for file in sorted(stores.list_files(folder)):
        if file.startswith(f"{dataset}-") and file.endswith(".parquet"):
            path = stores.join(folder, file)
            fingerprint, report = parquet.read_tags(path)
            labels = json.loads(report or "{}")
            if fingerprint and not labels:  # the measures of two annotators
                continue
            one = _read_group(path, fingerprint)
            most = groups.get(one.split)
            larger = most is None or len(most.annotators) < len(one.annotators)
            if larger and _is_current(one, labels, pairs):
                groups[one.split] = one
    return tuple(groups.values())


def _read_group(path: str, fingerprint: str) -> GroupAgreement:
    """The measures of a table that are over all labels."""
    rows = [row for row in parquet.read(path).to_pylist() if row["scope"] == tables.ALL]
    figures = {row["measure"]: row["value"] for row in rows}
    for end in ("low", "high"):
        figures |= {f"{row['measure']}_{end}": row[end] for row in rows}
    methods = {row["measure"]: row["method"] for row in rows if row["method"] is not None}
    return GroupAgreement(rows[0]["split"], tuple(rows[0]["annotator_a"].split(",")), figures, methods, fingerprint)


def _is_current(
    group: GroupAgreement, labels: Mapping[str, str], pairs: Mapping[tuple[str, frozenset[str]], Mapping[str, str]]
) -> bool:
    """Whether every two of them are compared, from the very labels that the table was made from."""
    for number, a in enumerate(group.annotators):
        for b in group.annotators[number + 1 :]:
            compared = pairs.get((group.split, frozenset((a, b))))
            if compared is None or any(labels.get(x, compared.get(x)) != compared.get(x) for x in (a, b)):
                return False
    return True


def digest(pair: Pair, limit: int) -> Digest:
    """Count the rows of a comparison, and pick its `limit` most confident disagreements; nothing where it kept none."""
    if not pair.manifest.has_pairs:
        return Digest((), ())

    def digest_shard(shard: int) -> tuple[pa.Table, pa.Table]:
        rows = read_shard(pair.shards, shard, AGREE_FIRST)
        return query(_CELLS, rows), products.rank_disagreements(rows, limit)

    with ThreadPoolExecutor(_READERS) as pool:
        cells, confident = zip(*pool.map(digest_shard, range(pair.shards.shards)), strict=True)
    counted = query(_SUMMED, pa.concat_tables(cells))
    ranked = products.rank_disagreements(pa.concat_tables(confident), limit)
    return Digest(tuple(counted.to_pylist()), tuple(ranked.to_pylist()))


def count_against_reference(
    compared: Iterable[Comparison],
) -> dict[tuple[str, str], tuple[str, Counter[tuple[str, str]]]]:
    """Name of the reference and counts of (its label, label) by split and annotator.

    Each annotator is evaluated by its comparison with most images; multilabel comparisons are excluded.
    """
    best: dict[tuple[str, str], tuple[str, Counter[tuple[str, str]]]] = {}
    for entry in compared:
        for side, annotator in (("a", entry.pair.a), ("b", entry.pair.b)):
            if not entry.pair.is_multilabel:
                counts = classification.against_reference(entry.digest.cells, side)
                key = entry.pair.split, annotator
                if counts and (key not in best or counts.total() > best[key][1].total()):
                    best[key] = entry.pair.reference, counts
    return best


def display_names(rows: Sequence[Row]) -> dict[str, str]:
    """How to call each class: by its display name, and by its label as well where another has the same name."""
    names = {row["label"]: " ".join((row["display_name"] or row["label"]).split()) for row in rows}
    often = Counter(names.values())
    return {label: name if often[name] == 1 else f"{name} ({label})" for label, name in names.items()}


def read_shard(folder: ShardFolder, shard: int, cure: str, shards: int = 0) -> pa.Table:
    """One shard of a product; with `shards`, of as many as that: label sets may have fewer shards than their images.

    Raises:
        IncompleteError: it is missing, or was made from something else than its manifest says.
    """
    shards = shards or folder.shards
    path = folder.path(shard * folder.shards // shards)
    if stores.stat(path) is None:
        raise IncompleteError(f"{path} is missing: {cure}")
    return folder.read_part(shard, shards)


def read_shards(folder: ShardFolder, cure: str, parts: Iterable[int] | None = None) -> pa.Table:
    """All shards of a product, or those that its manifest names."""
    return pa.concat_tables(
        [read_shard(folder, shard, cure) for shard in (range(folder.shards) if parts is None else parts)]
    )


def query(sql: str, shard: pa.Table) -> pa.Table:
    """The rows that a DuckDB statement selects from an Arrow table, which it calls `shard`."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("shard", shard)
        return connection.sql(sql).to_arrow_table()
