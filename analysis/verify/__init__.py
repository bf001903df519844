"""Recheck all that lies in a root against its manifests and indexes, and sum up the rows of its tables.

    concord verify --root out

It reads a shard at a time, several side by side, and writes nothing. What is missing or altered is named with its
remedy; what is left over, or was made from something that is no longer there, is a warning.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from analysis.verify import contents, inventory, orphans, parquet
from analysis.verify.contents import ImageFile, rebuild
from analysis.verify.inventory import Expected, Finding, Inventory
from analysis.verify.parquet import Checked
from schemas import layout
from schemas.manifests import ImagesManifest, ModelFile
from storage import checksums, stores
from storage.checksums import RowSum
from storage.tables import Table

_THREADS = max(4, os.cpu_count() or 1)


@dataclass
class Outcome:
    """What was found in a root.

    Attributes:
        findings: what is wrong, sorted.
        sums: the sum of each table's rows, by its name.
        weights: the hash of each model's weights, by dataset and name.
        files: how many were checked.
        bytes: how many they have.
        unread: how many of the tables' files cannot be read.
    """

    findings: list[Finding] = field(default_factory=list)
    sums: dict[str, RowSum] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    unread: int = 0

    @property
    def wrong(self) -> list[Finding]:
        """What is missing or altered."""
        return [one for one in self.findings if not one.is_warning]

    def lines(self) -> Iterator[str]:
        """What is printed: one line per finding, how many there are, and last the checksum."""
        for one in self.findings:
            yield f"warning: {one}" if one.is_warning else str(one)
        warnings = len(self.findings) - len(self.wrong)
        result = f"{len(self.wrong):,} missing or altered" if self.wrong else "nothing is missing or altered"
        more = f", {warnings:,} warnings" if warnings else ""
        yield f"{self.files:,} files checked ({self.bytes / 1e6:,.1f} MB): {result}{more}"
        if self.weights:
            lines = "\n".join(f"{name} {weights}" for name, weights in sorted(self.weights.items()))
            yield f"weights: {hashlib.sha256(lines.encode()).hexdigest()[:32]} ({len(self.weights):,} models)"
        if self.unread:
            yield f"checksum: none ({self.unread:,} files of tables cannot be read)"
            return
        rows = {name: listed.rows for name, listed in self.sums.items() if listed.rows}
        yield f"checksum: {checksums.checksum(self.sums)} ({len(rows):,} tables, {sum(rows.values()):,} rows)"


def verify(root: str, tables: Mapping[str, Table], dataset: str = "", quick: bool = False) -> Outcome:
    """Check a root.

    Args:
        root: local, `gs://` or `s3://`.
        tables: every table, by its name.
        dataset: the only one to check; empty for all.
        quick: whether to leave out the bytes of images.

    Raises:
        InputError: there is nothing of Concord's.
    """
    listed = inventory.list_root(root, tables, dataset)
    outcome = Outcome(findings=list(listed.findings))
    with ThreadPoolExecutor(_THREADS) as pool:
        _check_models(listed, outcome, pool)
        for expected in listed.expected:
            _check_files(listed, tables[expected.files.table], expected, quick, outcome, pool)
    _check_metadata(listed, outcome)
    outcome.findings += [*orphans.find_orphans(listed, tables), *orphans.find_outdated(listed)]
    outcome.findings.sort(key=lambda one: (one.is_warning, one))
    return outcome


def _check_files(
    listed: Inventory, table: Table, expected: Expected, quick: bool, outcome: Outcome, pool: ThreadPoolExecutor
) -> None:
    """Check the files that a manifest vouches for, each by itself and all together."""
    names = list(expected.files.files)
    absent = [name for name in names if expected.path(name) not in listed.files]
    outcome.findings += [Finding(expected.path(name), "is missing", expected.remedy()) for name in absent]
    present = [name for name in names if name not in absent]
    is_index = table.name == "index"

    def check(name: str) -> Checked:
        checked = parquet.check_file(listed.root, table, expected, name, keep=is_index)
        if is_index:
            checked.findings += _check_images(listed, expected, name, checked, quick)
            checked.table = None
        return checked

    checks = dict(zip(present, pool.map(check, present), strict=True))
    outcome.files += len(present)
    outcome.bytes += sum(listed.files[expected.path(name)] for name in present)
    wrong = [one for checked in checks.values() for one in checked.findings]
    outcome.findings += wrong
    outcome.unread += sum(checked.rows is None for checked in checks.values())
    outcome.sums[table.name] = sum((one.sum for one in checks.values()), outcome.sums.get(table.name, RowSum()))
    if not absent and all(one.is_warning or one.path.startswith("images/") for one in wrong):
        outcome.findings += parquet.check_counts(expected, checks)


def _check_images(listed: Inventory, expected: Expected, name: str, checked: Checked, quick: bool) -> list[Finding]:
    """Check the TFRecord shard that a shard of an index describes."""
    manifest = listed.manifests[expected.manifest]
    if not isinstance(manifest, ImagesManifest):
        return []
    split, (shard, _) = expected.files.folder.rpartition("split=")[2], layout.shard_number(name) or (0, 1)
    file = layout.tfrecord_shard(manifest.dataset, split, shard, manifest.shards)
    path = f"{stores.parent(expected.manifest)}/{file}"
    if path not in listed.files:
        return [Finding(path, "is missing", expected.remedy())]
    if checked.table is None or any(not one.is_warning for one in checked.findings):
        return []  # by an index that is altered, nothing can be checked
    payload = checked.report.payload_bytes if checked.report else None
    return contents.check_shard(
        listed.root, ImageFile(path, expected.manifest, listed.files[path], payload), checked.table, quick
    )


def _check_metadata(listed: Inventory, outcome: Outcome) -> None:
    """Count the images, and name what `tensorflow_datasets` needs and is not there."""
    for manifest in (path for path in listed.manifests if path.startswith("images/")):
        folder = stores.parent(manifest)
        there = [path for path in listed.known & set(listed.files) - {manifest} if stores.parent(path) == folder]
        outcome.files += len(there)
        outcome.bytes += sum(listed.files[path] for path in there)
        absent = [f"{folder}/{name}" for name in inventory.METADATA if f"{folder}/{name}" not in listed.files]
        remedy = rebuild("convert", manifest)
        outcome.findings += [Finding(path, "is missing", remedy) for path in absent]


def _check_models(listed: Inventory, outcome: Outcome, pool: ThreadPoolExecutor) -> None:
    """Check every file of every model, and of the runs and folds that models are made of."""
    checks: list[Callable[[], list[Finding]]] = []
    for path, card in listed.cards.items():
        folder, stage = stores.parent(path), card.stage
        stated = {f"{folder}/{name}": file for name, file in card.files.items()}
        if path.count("/") == 3:
            outcome.weights[folder] = card.weights_sha256
        listed.known |= set(stated)
        outcome.findings += [
            Finding(name, "is missing", rebuild(stage, path)) for name in stated if name not in listed.files
        ]
        checks += [
            _file_check(listed, name, path, file, stage) for name, file in stated.items() if name in listed.files
        ]
        outcome.files += sum(name in listed.files for name in stated)
        outcome.bytes += sum(listed.files.get(name, 0) for name in stated)
    outcome.findings += [one for wrong in _run(pool, checks) for one in wrong]


def _file_check(listed: Inventory, name: str, card: str, stated: ModelFile, stage: str) -> Callable[[], list[Finding]]:
    return lambda: contents.check_model_file(listed.root, name, card, stated, stage)


def _run(pool: ThreadPoolExecutor, checks: Iterable[Callable[[], list[Finding]]]) -> Iterator[list[Finding]]:
    return pool.map(lambda check: check(), checks)
