"""What the command prints of its work: one line per product, and where everything lies at the end."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipelines import progress
from pipelines.chain import Run
from schemas import layout
from schemas.stage import Chain, StageResult

_log = logging.getLogger("concord")


def print_result(result: StageResult) -> None:
    """Print what a stage did with one product."""
    if not result.built:
        skipped = progress.fields("stage_skipped", stage=result.stage, product=result.product)
        _log.info("%s %s: already there, nothing to do", result.stage, result.product, extra=skipped)
        return
    counts = result.counts
    parts = []
    if result.stage == "confirm":
        parts += reconciliation(counts)
    elif "in" in counts:
        fate = "rejected" if "rejected" in counts else "unpaired"
        parts.append(f"; {counts['in']:,} in = {counts['out']:,} out + {sum(counts[fate].values()):,} {fate}")
        parts += [lengths(split, one["lengths"]) for split, one in counts.get("splits", {}).items() if "lengths" in one]
    if "candidates" in counts:
        parts.append(f"; {counts['candidates']:,} of {counts['out']:,} labels may be wrong")
    if "queued" in counts:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts["found"].items() if count)
        parts.append(f"; {counts['queued']:,} of {sum(counts['found'].values()):,} to review ({reasons or 'none'})")
    if result.stage == "train":
        parts.append(describe_training(counts))
    stated = {name: value for name, value in vars(result).items() if name != "built"}
    line = "%s %s: done in %.1f s%s", result.stage, result.product, result.seconds, "".join(parts)
    _log.info(*line, extra=progress.fields("stage_done", **stated))


def describe_training(counts: dict[str, Any]) -> str:
    """How good a trained model is: its validation metric, and its evaluation."""
    names = [name for name in ("val_accuracy", "val_average_precision") if name in counts]
    parts = [f"; {name.replace('val_', 'validation ').replace('_', ' ')} {counts[name]:.3f}" for name in names]
    parts.append(f" after {counts['epochs']} epoch{'s' * (counts['epochs'] != 1)}")
    if excluded := counts.get("excluded"):
        first = f", the first {excluded['damaged'][0]}: run convert --force" if excluded["damaged"] else ""
        parts.append(f"; {excluded['images']:,} images excluded, which cannot be read{first}")
    for split, metrics in counts.get("evaluation", {}).items():
        shown = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items() if isinstance(value, float)]
        parts.append(f"; {split.replace('_', ' ')} ({metrics['images']:,} images)")
        parts.append(f": {', '.join(shown)}" if shown else "")
    if sweep := counts.get("sweep"):
        parts.append(f"; the best of {sweep['runs']} runs ({sweep['best']}), of which")
        spreads = [(name, sweep["metrics"][name]) for name in sweep["metrics"] if name in sweep["main_metrics"]]
        parts += [f"\n  {name}: mean {of['mean']:.3f}, {of['least']:.3f} to {of['most']:.3f}" for name, of in spreads]
    return "".join(parts)


def describe_study(result: Any) -> list[str]:
    """The results of a study: a line per kind of baseline, and one per generation, its thresholds side by side.

    Figures are means over seeds, with their 95 % intervals where there are several.
    """
    lines: dict[tuple[str, int | None], list[str]] = {}
    for row in result.counts["means"]:
        lines.setdefault((row["kind"], row["generation"]), []).append(_mean_of(row))
    titles = {"labelled_share": "human labels, a share", "everything": "human labels, everything"}
    shown = {titles.get(kind, f"generation {number}"): parts for (kind, number), parts in lines.items()}
    return [f"{result.product}, {title}: {'; '.join(parts)}" for title, parts in shown.items()]


def _mean_of(row: dict[str, Any]) -> str:
    """The mean of a cut over seeds, in words."""
    at = f"{row['network']}" if row["cut"] is None else f"cut {row['cut']:g}"
    if row["accuracy"] is None:
        return f"{at}: excluded, no label is so confident"
    low, high = row["accuracy_low"], row["accuracy_high"]
    interval = "" if low is None else f" ({low:.3f}-{high:.3f})"
    by = "humans" if row["cut"] is None else "machines"
    right = f", {row['pseudo_label_accuracy']:.3f} of them correct" if row["pseudo_label_accuracy"] is not None else ""
    return f"{at} accuracy {row['accuracy']:.3f}{interval} from {row['n_labels']:,.0f} labels of {by}{right}"


def lengths(split: str, counts: dict[str, int]) -> str:
    """A line that states how many numbers of a split have each length."""
    parts = [f"{count:,} of {length} digit{'s' * (length != '1')}" for length, count in counts.items()]
    return f"\n  {split}: {', '.join(parts) or 'no numbers'}"


def reconciliation(counts: dict[str, Any]) -> list[str]:
    """Where every row of both sides went, a line a side, and what came of those that met."""
    lines = []
    for side in ("machine", "human"):
        fates = counts[side]
        malformed, narrowed = (sum(fates[name].values()) for name in ("malformed", "narrowed"))
        lines.append(
            f"\n  {side + ':':<8} {fates['read']:,} rows read = {malformed:,} malformed + {narrowed:,} filtered out + "
            f"{fates['unmatched']:,} unmatched + {fates['duplicate']:,} duplicate + {fates['matched']:,} matched"
        )
    verdicts = [f"{counts[verdict]:,} {verdict}" for verdict in ("confirmed", "rejected", "dropped") if counts[verdict]]
    matched, conflicts = counts["matched"], counts["conflicts"]
    return [
        *lines,
        f"\n  matched: {matched:,} = {' + '.join(verdicts) or 0} (humans differ on {conflicts:,})",
        f"\n  confirmed: {counts['images']:,} images, {counts['classes']:,} classes",
    ]


def print_summary(root: str, runs: Sequence[Run], headline: Callable[[str, str], list[str]]) -> None:
    """Print the findings, and where everything lies.

    Args:
        root: where everything is kept.
        runs: each chain's run.
        headline: the findings on a dataset, in a line or more.
    """
    results = [result for run in runs for result in run.results]
    lines = []
    if all(not result.built for result in results):
        seconds = time.time() - runs[0].began
        lines.append(f"Everything was already there: no stage was run again ({seconds:.1f} s).")
    datasets = [dataset for run in runs if (dataset := _dataset(run.chain, "agree") or _dataset(run.chain, "report"))]
    headlines = [line for dataset in datasets for line in headline(root, dataset)]
    headlines += [line for result in results if result.stage == "generations" for line in describe_study(result)]
    lines += ["", *headlines, ""] if headlines else []
    stages = {name for run in runs for name in run.chain}
    if stages & {"agree", "generations", "queue", "label_errors"}:
        lines.append(f"tables: {root.rstrip('/')}/agreement")
    if "explain" in stages:
        lines.append(f"heat maps: {root.rstrip('/')}/explanations")
    for settings in (one for run in runs for one in run.chain.get("queue", ()) if one.export):
        folder = layout.queue_export(root, settings.dataset, settings.split, settings.export)
        lines.append(f"queue:  {settings.output or folder}")
    reports = [dataset for run in runs if (dataset := _dataset(run.chain, "report"))]
    if reports:
        lines.append(f"report: {layout.report(root, reports[0] if len(reports) == 1 else '')}/index.html")
    lines += [f"run:    {run.manifest}" for run in runs]
    print("\n".join(lines))


def _dataset(chain: Chain, stage: str) -> str:
    """The dataset of a stage of a chain; empty where it has none."""
    return str(chain[stage][0].dataset) if stage in chain else ""
