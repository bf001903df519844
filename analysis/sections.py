"""The sections of the report page: what each shows, worked out from what was gathered.

A section is a function here, its line in `SECTIONS`, and a template `section_<name>.html.j2` that lays out what the
function returns. One that has nothing to show returns None and is left out.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis import (
    agreement_matrix,
    calibration,
    coverage,
    evaluation,
    generations,
    joint_confidence,
    label_counts,
    plots,
    several_labels,
    tables,
    verdicts,
)
from analysis.compared import Comparison, judged, right_where_agreed
from analysis.looks import Looks
from analysis.tables import Row, Sources
from metrics import classification
from schemas.rejects import REMEDIES

Data = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """All that the page is made from.

    Attributes:
        sheets: the images of the contact sheet, by split; of comparisons, or else of label sets alone (`photographs`).
        thumbnails: data URIs by split and image id; None where an image cannot be shown.
        rejects: rejected records by stage and reason.
        fingerprint: of all of it.
        looks: rows of where an annotator looked in images of a split, by image id.
    """

    sources: Sources
    comparisons: tuple[Comparison, ...]
    sheets: Mapping[str, list[Row]]
    thumbnails: Mapping[tuple[str, str], str | None]
    rejects: list[Row]
    fingerprint: str
    looks: Looks = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the page is about."""
        other = "what people confirmed" if self.sources.confirmation else "what the networks learned"
        other = "do machines teach machines?" if self.sources.studies else other
        about = "how far the annotators agree" if self.comparisons else other
        return f"{self.sources.dataset}: {about}"

    def picture(self, split: str, image_id: str) -> str | None:
        """The thumbnail of an image; None where it cannot be shown, empty where the dataset has no images."""
        return "" if self.sources.images is None else self.thumbnails[split, image_id]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its anchor, and the name of its template.
        build: what its template is given as `data`; None where there is nothing to show.
    """

    name: str
    title: str
    build: Callable[[Facts], Data | None]


def agreement(facts: Facts) -> Data | None:
    """How far each pair agrees, and all together; how often each is right, and how often both where they agree."""
    entries = [
        {"pair": entry.pair, "summary": entry.summary, "agreed": right_where_agreed(entry.digest)}
        for entry in facts.comparisons
    ]
    found = {
        "entries": entries,
        "matrices": agreement_matrix.of_comparisons(facts.comparisons, judged(facts.comparisons)),
        "together": facts.sources.together,
        "together_methods": "; ".join({agreement_matrix.said(one.methods): "" for one in facts.sources.together}),
        "methods": agreement_matrix.methods_of_two(facts.comparisons),
        "unfinished": facts.sources.unfinished,
    }
    return found if entries or facts.sources.unfinished else None


def people(facts: Facts) -> Data | None:
    """What people confirmed of a machine's labels."""
    confirmation = facts.sources.confirmation
    return None if confirmation is None else verdicts.section(confirmation)


def contact_sheet(facts: Facts) -> Data | None:
    """Images with their truth and each annotator's label."""
    sheets = [
        {"split": split, "images": images, "truth": _truth_of(facts, split)}
        for split, images in _with_pictures(facts)
        if facts.comparisons
    ]
    return {"sheets": sheets} if sheets else None


def photographs(facts: Facts) -> Data | None:
    """Images with the labels that people confirmed and rejected, where no annotators are compared."""
    sheets = [{"split": split, "images": images} for split, images in _with_pictures(facts) if not facts.comparisons]
    return {"sheets": sheets} if sheets else None


def _with_pictures(facts: Facts) -> Iterator[tuple[str, list[Row]]]:
    for split, images in facts.sheets.items():
        yield split, [{**image, "picture": facts.picture(split, image["image_id"])} for image in images]


def _truth_of(facts: Facts, split: str) -> str:
    return next(entry.pair.truth for entry in facts.comparisons if entry.pair.split == split)


def disagreements(facts: Facts) -> Data | None:
    """The images on which the annotators of a pair were both most sure of different labels, where they have one."""
    entries = []
    for entry in facts.comparisons:
        pair = entry.pair
        if pair.several:
            continue
        images = [
            {
                "image_id": row["image_id"],
                "truth": row["reference"],
                "labels": tables.labels_of(pair, row),
                "picture": facts.picture(pair.split, row["image_id"]),
            }
            for row in entry.digest.disagreements
        ]
        different = entry.summary["n"] - entry.summary["n_agree"]
        entries.append({"pair": pair, "images": images, "different": different})
    return {"entries": entries} if entries else None


def where_they_looked(facts: Facts) -> Data | None:
    """Where each network looked in the images on which a pair differs, and in those that were chosen by hand."""
    stale = [one for one in facts.sources.explanations if one.stale]
    shown: set[tuple[str, str]] = set()
    entries = []
    for entry in facts.comparisons:
        pair = entry.pair
        asked = {name: facts.looks[name, pair.split] for name in (pair.a, pair.b) if (name, pair.split) in facts.looks}
        rows = [row for row in entry.digest.disagreements if _all_know(asked, row["image_id"])]
        images = [_looked_at(row["image_id"], tables.labels_of(pair, row), asked, row["reference"]) for row in rows]
        shown |= {(pair.split, row["image_id"]) for row in rows}
        if images:
            entries.append({"pair": pair, "images": images})
    chosen = [
        {"split": split, "images": images}
        for split in dict.fromkeys(split for _, split in facts.looks)
        if (images := _chosen(facts, split, shown))
    ]
    return {"entries": entries, "chosen": chosen, "stale": stale} if entries or chosen or stale else None


def _all_know(asked: Mapping[str, Mapping[str, Row]], image_id: str) -> bool:
    """Whether those of a pair that can tell where they look, one at least, were asked about an image."""
    return bool(asked) and all(image_id in found for found in asked.values())


def _chosen(facts: Facts, split: str, shown: set[tuple[str, str]]) -> list[Row]:
    """The images of a split that were explained, but are not shown beside a comparison."""
    asked = {annotator: found for (annotator, of), found in facts.looks.items() if of == split}
    ids = dict.fromkeys(image_id for found in asked.values() for image_id in found if (split, image_id) not in shown)
    images = []
    for image_id in ids:
        rows = {annotator: found[image_id] for annotator, found in asked.items() if image_id in found}
        labels = {annotator: (row["label"], row["confidence"]) for annotator, row in rows.items()}
        images.append(_looked_at(image_id, labels, asked, None))
    return images


def _looked_at(image_id: str, labels: Row, asked: Mapping[str, Mapping[str, Row]], truth: str | None) -> Row:
    """An image, and beside each annotator's label where it looked; nothing for one that cannot tell."""
    found = {annotator: asked.get(annotator, {}).get(image_id) for annotator in labels}
    picture = next(row["picture"] for row in found.values() if row)
    heats = [
        {
            "annotator": name,
            "label": label,
            "confidence": confidence,
            "heat": row["heat"] if (row := found[name]) else None,
        }
        for name, (label, confidence) in labels.items()
    ]
    return {"image_id": image_id, "truth": truth, "picture": picture, "heats": heats}


def confusion(facts: Facts) -> Data | None:
    """What one annotator called what the other called something else; of several labels, who gave which alone."""
    entries: list[Data] = []
    for entry in facts.comparisons:
        if entry.pair.several:
            rows = several_labels.given_alone(entry.confusion, facts.sources.classes)
            entries.append({"pair": entry.pair, "rows": rows, "matrix": None})
            continue
        counts = Counter({(row["label_a"], row["label_b"]): row["n"] for row in entry.confusion})
        matrix = classification.matrix(counts, entry.pair.a, entry.pair.b, facts.sources.classes)
        entries.append({"pair": entry.pair, "matrix": matrix})
    return {"entries": entries} if entries else None


def against_truth(facts: Facts) -> Data | None:
    """Each annotator's confusion with the truth, and the figures of each class."""
    classes = facts.sources.classes
    entries = [
        {
            "split": split,
            "annotator": annotator,
            "truth": truth,
            "matrix": classification.matrix(counts, truth, annotator, classes),
            "scores": classification.classification(counts, classes),
        }
        for (split, annotator), (truth, counts) in sorted(judged(facts.comparisons).items())
    ]
    several = several_labels.against_truth([entry.pair for entry in facts.comparisons])
    return {"entries": entries, "several": several} if entries or several else None


def learning(facts: Facts) -> Data | None:
    """How each model learned."""
    entries = []
    for card in facts.sources.models:
        history = card.get("history") or {}
        if not history:
            continue
        best = card.get("metrics", {}).get("best_epoch")
        curves = [plots.learning_curve(history, metric, best) for metric in ("accuracy", "loss") if metric in history]
        entries.append({"name": card["name"], "best": best, "card": card, "curves": curves})
    return {"entries": entries} if entries else None


def evaluated(facts: Facts) -> Data | None:
    """What the networks were judged at."""
    entries = evaluation.of_models(facts.sources.models)
    return {"entries": entries} if entries else None


def covered(facts: Facts) -> Data | None:
    """How many images the best two machines take off people at each accuracy asked for."""
    entries = coverage.of_pairs([entry.pair for entry in facts.comparisons])
    return {"entries": entries} if entries else None


def trusted(facts: Facts) -> Data | None:
    """How often each annotator is right when it is how sure."""
    entries = calibration.of_pairs([entry.pair for entry in facts.comparisons])
    return {"entries": entries} if entries else None


def sure_together(facts: Facts) -> Data | None:
    """How sure both annotators of a pair are where they agree, and where they do not."""
    entries = joint_confidence.of_pairs([entry.pair for entry in facts.comparisons])
    return {"entries": entries} if entries else None


def given(facts: Facts) -> Data | None:
    """How often each annotator gave each label, beside the truth."""
    entries = label_counts.of_comparisons(facts.comparisons, facts.sources.classes)
    return {"entries": entries} if entries else None


def taught(facts: Facts) -> Data | None:
    """What became of networks that networks taught."""
    entries = generations.of_studies(facts.sources.studies)
    return {"entries": entries} if entries else None


def left_out(facts: Facts) -> Data | None:
    """The records that were turned away, by reason, each with an example and what to do."""
    rows = [{**row, "remedy": REMEDIES.get(row["reason"], "")} for row in facts.rejects]
    return {"rows": rows} if rows else None


def provenance(facts: Facts) -> Data:
    """How everything on the page was made."""
    sources = facts.sources
    return {
        "manifest": None if sources.images is None else sources.images.manifest,
        "confirmation": sources.confirmation,
        "models": sources.models,
        "settings": list(_settings_side_by_side(sources.models)),
        "label_sets": sources.label_sets,
        "pairs": sources.pairs,
        "explanations": sources.explanations,
        "fingerprint": facts.fingerprint,
    }


def _settings_side_by_side(models: tuple[Row, ...]) -> Iterator[tuple[str, list[Any]]]:
    """Each setting with its value in every model."""
    keys = {key for card in models for key in card.get("settings", {})} - {"name", "dataset"}
    for key in sorted(keys):
        yield key, [card.get("settings", {}).get(key) for card in models]


SECTIONS = (
    Section("agreement", "How far they agree", agreement),
    Section("coverage", "Where people need not be asked", covered),
    Section("generations", "Do machines teach machines?", taught),
    Section("calibration", "How far confidence can be trusted", trusted),
    Section("confidence", "How sure both are, and whether they agree", sure_together),
    Section("verdicts", "What people confirmed", people),
    Section("sheet", "What the images look like", contact_sheet),
    Section("photographs", "What the images look like", photographs),
    Section("disagreements", "Where both are sure, and differ", disagreements),
    Section("looks", "Where the networks looked", where_they_looked),
    Section("labels", "How often each label was given", given),
    Section("confusion", "What they mistake for what", confusion),
    Section("truth", "Against the truth", against_truth),
    Section("evaluation", "How well the networks do", evaluated),
    Section("learning", "How the models learned", learning),
    Section("rejects", "What was left out", left_out),
    Section("provenance", "How it was made", provenance),
)
