"""What manifests say that there is: which folders of Parquet files, made from what, with how many rows."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.verify.findings import Finding
from schemas import layout
from schemas.layout import CONFIRMED, HUMAN, MACHINE
from schemas.manifests import IMPORT
from storage.products import MANIFEST, OWN, SEALS

Manifest = Mapping[str, Any]
_SHARD = re.compile(r"part-\d{5}-of-(\d{5})\.parquet")
_OUT, _REJECTED = "out", "rejected"
_DERIVED = {"drawn_from": "concord generations"}


@dataclass(frozen=True)
class Claim:
    """Parquet files of one table in one folder that a manifest speaks of.

    Attributes:
        table: its name in the registry.
        folder: under the root.
        names: of the files that have to be there.
        manifest: path of the manifest, under the root.
        fingerprint: that each file carries.
        command: that makes them.
        seals: of the files, by name; empty where the manifest keeps none.
        rows: of all of them; None where the manifest does not say.
        counted: which count of a file's report is its rows: `out` or `rejected`; empty for none.
        counts: `in`, `out` and `rejected` of the manifest that the reports have to add up to; empty for none.
        some: whether any of the files may be missing.
    """

    table: str
    folder: str
    names: tuple[str, ...]
    manifest: str
    fingerprint: str
    command: str
    seals: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    counted: str = ""
    counts: Mapping[str, Any] = field(default_factory=dict)
    some: bool = False

    def path(self, name: str) -> str:
        """Path of one of its files, under the root."""
        return f"{self.folder}/{name}"


def _shards(count: int) -> tuple[str, ...]:
    return tuple(layout.parquet_shard(shard, count) for shard in range(count))


def _place(folder: Callable[..., str], *keys: str) -> str:
    return folder("", *keys).strip("/")


def _seals(manifest: Manifest, table: str) -> Mapping[str, str]:
    found: Mapping[str, str] = manifest.get(SEALS, {}).get(table, {})
    return found


def of_labels(path: str, manifest: Manifest) -> Iterator[Claim]:
    """A label set, and the images that have no label, or the rows that were refused."""
    dataset, annotator, split = _keys(path)
    command, counts = maker(annotator, manifest), manifest.get("counts", {})
    shards = _shards(manifest["shards"])
    made: dict[str, Any] = {"manifest": path, "fingerprint": manifest["fingerprint"], "command": command}
    each = "" if "thresholds" in manifest else _OUT  # then an image may have no row, or several
    own = _place(layout.labels, dataset, annotator, split)
    told = {**counts, "rejected": counts.get("rejected", {"left_out": counts.get("left_out", 0)})} if counts else {}
    yield Claim(
        "labels", own, shards, **made, seals=_seals(manifest, OWN), rows=manifest["rows"], counted=each, counts=told
    )
    stage = "import" if manifest.get("stage") == IMPORT else "label" if "weights" in manifest else ""
    if stage:
        folder = layout.import_rejects if stage == "import" else layout.label_rejects
        name = f"rejects_{stage}"
        place = _place(folder, dataset, annotator, split)
        rows = sum(counts["rejected"].values())
        yield Claim(name, place, shards, **made, seals=_seals(manifest, name), rows=rows, counted=_REJECTED)


def maker(annotator: str, manifest: Manifest) -> str:
    """The command that makes a label set."""
    derived = next((command for key, command in _DERIVED.items() if key in manifest), "")
    if derived or manifest.get("stage") == IMPORT:
        return derived or "concord import"
    if "weights" in manifest:
        return "concord label"
    by = {HUMAN: "convert" if manifest.get("seen_all") else "confirm", MACHINE: "confirm", CONFIRMED: "confirm"}
    return f"concord {by.get(annotator, 'label')}"


def of_pairs(path: str, manifest: Manifest) -> Iterator[Claim]:
    """A comparison and its tables."""
    dataset, a, b, split = _keys(path)
    made: dict[str, Any] = {
        "manifest": path,
        "fingerprint": manifest["fingerprint"],
        "command": "concord agree",
    }
    if manifest.get("pairs", True):
        shards = _shards(manifest["shards"])
        rows = manifest["rows"] if manifest.get("task") != "multilabel" else None  # then a row is a label
        yield Claim(
            "pairs", _place(layout.pairs, dataset, a, b, split), shards, **made, seals=_seals(manifest, OWN), rows=rows
        )
    for table in ("summary", "confusion", "joint_confidence", "coverage", "coverage_curve"):
        folder, _, name = layout.agreement_table("", table, dataset, (a, b), split).strip("/").rpartition("/")
        yield Claim(table, folder, (name,), **made, seals=_seals(manifest, table))


def of_scores(path: str, manifest: Manifest) -> Iterator[Claim]:
    """Features or explanations, and the images that have none."""
    dataset, whose, split = _keys(path)
    kind = path.partition("/")[0]
    table, stage = ("features", "features") if kind == "features" else ("explanations", "explain")
    own, rejects = {
        "features": (layout.features, layout.feature_rejects),
        "explain": (layout.explanations, layout.explain_rejects),
    }[stage]
    every = _shards(manifest["shards"])
    shards = tuple(every[shard] for shard in manifest.get("parts", range(manifest["shards"])))
    made: dict[str, Any] = {
        "manifest": path,
        "fingerprint": manifest["fingerprint"],
        "command": f"concord {stage}",
    }
    counts, name = manifest["counts"], f"rejects_{stage}"
    place = _place(own, dataset, whose, split)
    yield Claim(
        table, place, shards, **made, seals=_seals(manifest, OWN), rows=manifest["rows"], counted=_OUT, counts=counts
    )
    place, rows = _place(rejects, dataset, whose, split), sum(counts["rejected"].values())
    yield Claim(name, place, shards, **made, seals=_seals(manifest, name), rows=rows, counted=_REJECTED)


def of_dataset(path: str, manifest: Manifest) -> Iterator[Claim]:
    """What `convert` made beside images or labels: index and rejects."""
    dataset, shards = manifest["dataset"], _shards(manifest["shards"])
    made: dict[str, Any] = {
        "manifest": path,
        "fingerprint": manifest["fingerprint"],
        "command": "concord convert",
    }
    for split, counts in manifest["splits"].items():
        if path.startswith("images/"):
            seals, place = _seals(manifest, f"index/{split}"), _place(layout.index, dataset, split)
            yield Claim("index", place, shards, **made, seals=seals, rows=counts["out"], counted=_OUT, counts=counts)
        seals, place = _seals(manifest, f"rejects_convert/{split}"), _place(layout.convert_rejects, dataset, split)
        rows = sum(counts["rejected"].values())
        yield Claim("rejects_convert", place, shards, **made, seals=seals, rows=rows, counted=_REJECTED)


def of_confirmation(path: str, manifest: Manifest) -> Iterator[Claim]:
    """What `confirm` made beside label sets: counts, statistics and rejects."""
    dataset = manifest["dataset"]
    made: dict[str, Any] = {
        "manifest": path,
        "fingerprint": manifest["fingerprint"],
        "command": "concord confirm",
    }
    place, seals = _place(layout.confirm_counts, dataset), _seals(manifest, "confirm_joined")
    yield Claim("confirm_joined", place, _shards(manifest["shards"]), **made, seals=seals)
    singles = {
        "confirm_read": layout.confirm_reading("", dataset),
        **{
            table: layout.statistics_table("", table, dataset)
            for table in ("machine_precision", "labels_per_image", "verdict_sources")
        },
    }
    for table, whole in singles.items():
        folder, _, name = whole.strip("/").rpartition("/")
        yield Claim(table, folder, (name,), **made, seals=_seals(manifest, table))
    for side in (MACHINE, HUMAN):
        seals = _seals(manifest, f"rejects_confirm/{side}")
        rows = sum(manifest["counts"][side]["malformed"].values())
        place = _place(layout.confirm_rejects, dataset, side)
        yield Claim("rejects_confirm", place, tuple(seals), **made, seals=seals, rows=rows, counted=_REJECTED)


_KINDS: tuple[tuple[str, Callable[[str, Manifest], Iterator[Claim]]], ...] = (
    (r"images/[^/]+/[^/]+", of_dataset),
    (r"labels/dataset=[^/]+/annotator=[^/]+", of_dataset),
    (r"labels/dataset=[^/]+", of_confirmation),
    (r"labels/dataset=[^/]+/annotator=[^/]+/split=[^/]+", of_labels),
    (r"agreement/pairs/dataset=[^/]+/annotator_a=[^/]+/annotator_b=[^/]+/split=[^/]+", of_pairs),
    (r"(features|explanations)/dataset=[^/]+/[^/]+/split=[^/]+", of_scores),
)


def kind_of(path: str) -> Callable[[str, Manifest], Iterator[Claim]] | None:
    """What reads a manifest at this path under the root; None where it speaks of no tables, as a page's."""
    folder = path.removesuffix(f"/{MANIFEST}")
    return next((read for shape, read in _KINDS if re.fullmatch(shape, folder)), None)


def _keys(path: str) -> list[str]:
    """The values of the partition keys on the way to a manifest."""
    return [part.partition("=")[2] for part in path.split("/") if "=" in part]


def accounts(path: str, manifest: Manifest) -> Iterator[Finding]:
    """Where the counts of a manifest do not close: in = out + rejected."""
    counts = manifest.get("counts", {})
    parts = {"": counts, **{f" of split {split}": found for split, found in counts.get("splits", {}).items()}}
    remedy = "it was edited; run the stage that writes it again with --force"
    for where, found in parts.items():
        if "in" in found and "out" in found:
            gone = sum(sum((found.get(key) or {}).values()) for key in (_REJECTED, "unpaired")) + found.get(
                "left_out", 0
            )
            if found["in"] != found["out"] + gone:
                what = f"its counts{where} do not close: {found['in']} in, {found['out']} out, {gone} rejected"
                yield Finding(path, what, remedy)
    for side in (MACHINE, HUMAN):
        found = counts.get(side, {})
        if "read" in found:
            gone = sum(sum(found[key].values()) for key in ("malformed", "narrowed"))
            rest = sum(found[key] for key in ("unmatched", "duplicate", "matched"))
            if found["read"] != gone + rest:
                yield Finding(
                    path, f"its counts of {side} do not close: {found['read']} read, {gone + rest} told", remedy
                )
