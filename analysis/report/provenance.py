"""How everything on the page was made, and the records that were rejected on the way."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from analysis.tables import SIDES, Row, Sources, query, read_shards
from schemas import layout
from schemas.errors import REJECT_HINTS
from schemas.manifests import LabelsManifest, ModelCard, ScoresManifest
from storage.products import ShardFolder

TITLE, ORDER = "Provenance", 90
_REASONS = (
    "SELECT reason, count(*) AS n, min(image_id) AS image_id, arg_min(source, image_id) AS source,"
    " arg_min(position, image_id) AS position, arg_min(detail, image_id) AS detail"
    " FROM shard GROUP BY reason ORDER BY reason"
)


def build_section(sources: Sources) -> Row:
    """Rejected records by reason, settings and fingerprints."""
    rejects = [{**row, "cure": REJECT_HINTS.get(row["reason"], "")} for row in count_rejects(sources)]
    return {
        "rejects": rejects,
        "manifest": None if sources.images is None else sources.images.manifest,
        "confirmation": sources.confirmation,
        "models": sources.models,
        "settings": list(_settings_side_by_side(sources.models)),
        "label_sets": sources.label_sets,
        "pairs": sources.pairs,
        "explanations": sources.explanations,
        "fingerprint": sources.fingerprint,
        "totals": {"rejected": sum(row["n"] for row in rejects)},
    }


def _settings_side_by_side(models: Sequence[ModelCard]) -> Iterator[tuple[str, list[Any]]]:
    """Each setting with its value in every model."""
    keys = {key for card in models for key in card.settings} - {"name", "dataset"}
    for key in sorted(keys):
        yield key, [card.settings.get(key) for card in models]


def count_rejects(sources: Sources) -> list[Row]:
    """The rejected records of every stage by reason, each with an example.

    Returns:
        rows of `stage`, `annotator` (empty for convert; the side for confirm), `split` (empty for confirm), `reason`,
        `n`, and the example's `image_id`, `source`, `position`, `detail`.
    """
    rows = []
    for stage, annotator, split, rejected in _read_rejects(sources):
        by_reason = query(_REASONS, rejected).to_pylist()
        rows += [{"stage": stage, "annotator": annotator, "split": split, **row} for row in by_reason]
    return rows


def _read_rejects(sources: Sources) -> Iterator[tuple[str, str, str, pa.Table]]:
    """Stage, annotator, split and rows of all that was rejected."""
    root, dataset, images = sources.root, sources.dataset, sources.images
    if images is not None:
        for split, counts in images.manifest.splits.items():
            if counts["rejected"]:
                shards = ShardFolder(layout.convert_rejects(root, dataset, split), images.shards, images.fingerprint)
                yield "convert", "", split, read_shards(shards, "run concord convert again")
    for one in sources.label_sets:
        if one.manifest.counts.get("rejected"):
            stage = one.manifest.stage
            folder_of = layout.import_rejects if stage == "import" else layout.label_rejects
            shards = _shards_of(folder_of(root, dataset, one.annotator, one.split), one.manifest)
            yield stage, one.annotator, one.split, read_shards(shards, f"run concord {stage} again")
    for explained in sources.explanations:
        if explained.manifest.counts.get("rejected") and not explained.is_stale:
            annotator, split, manifest = explained.annotator, explained.split, explained.manifest
            shards = _shards_of(layout.explain_rejects(root, dataset, annotator, split), manifest)
            yield "explain", annotator, split, read_shards(shards, "run concord explain again", manifest.parts)
    if sources.confirmation is not None:
        for side in SIDES:
            yield "confirm", side, "", sources.confirmation.rejects(side)


def _shards_of(folder: str, manifest: LabelsManifest | ScoresManifest) -> ShardFolder:
    return ShardFolder(folder, manifest.shards, manifest.fingerprint)
