"""Label images with a trained model: what its scores mean, and the rows that a label set has of them.

concord label --models cnn1,cnn2 --dataset svhn --splits test --root out
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from models import calibration, tasks
from pipelines import scoring
from pipelines.label.import_model import import_model, is_imported
from pipelines.scoring import ScorePlan, Scores, Scoring, ScoringDriver
from schemas import layout, tables
from schemas.manifests import Calibration, LabelsManifest, ModelCard
from schemas.settings.label import LabelSettings
from schemas.stage import Context, Plan, Product, StageResult, State
from storage import hashing, model_cards, products
from storage.products import ImageSet, ShardFolder


@dataclass(frozen=True)
class Answers:
    """What the scores of a model mean.

    Attributes:
        classes: names, in the order of the scores.
        thresholds: of several labels, the score at or above which an image has each class.
        keep_scores: whether a label set holds the scores as well.
        temperatures: by which confidence is calibrated, as `models.calibration` names them: none, those of all images,
            or those of each fold, where an image has those of the fold that did not see it.
    """

    task: str
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    keep_scores: bool = False
    temperatures: tuple[Mapping[str, float] | None, ...] = ()


def load_model(folder: str, batch: int, trusted: bool = False) -> Any:
    """The network of a model folder, ready to score so many images at once; a SavedModel only if it is trusted."""
    from models import scoring  # TensorFlow is imported where it is needed: on the workers that label

    return scoring.load(folder, batch, trusted)


def label_table(ids: Sequence[str], scores: Scores, answers: Answers) -> pa.Table:
    """The labels that scores stand for, a row each.

    Args:
        ids: of the images.
        scores: (n, k), in [0, 1].
        answers: what they mean.
    """
    task = tasks.load(answers.task)
    labels = task.decode_labels(scores, answers.classes, answers.thresholds)
    columns: dict[str, Any] = {
        "image_id": pa.array(ids, pa.string()).take(pa.array(labels.rows)),
        "label": pa.array(labels.labels, pa.string()),
        "confidence": labels.confidences,
    }
    if any(answers.temperatures):
        alike = len(answers.temperatures) == 1
        folds = np.zeros(len(ids), np.int64) if alike else hashing.fold_of(ids, len(answers.temperatures))
        temperatures = calibration.select_by_fold(answers.temperatures, folds)
        calibrated = task.calibrate(scores, labels, answers.classes, temperatures)
        columns["confidence_calibrated"] = pa.array(np.clip(calibrated, 0, 1), from_pandas=True)  # NaN is null
    kept = {"scores": pa.array(scores[labels.rows].tolist(), pa.list_(pa.float32()))} if answers.keep_scores else {}
    return tables.label_rows(columns | kept)


# The driver's side: what each model's label set is made from, and what its manifest states.


@dataclass(frozen=True)
class Labelling(Scoring):
    """The models that label, with the card of each; none of them where an external model is still to be imported."""

    settings: LabelSettings
    cards: Mapping[str, ModelCard]


class LabelDriver(ScoringDriver[LabelSettings]):
    """Makes a label set for each model and split; only the shards that are missing."""

    table_name = "labels"

    def reads(self, settings: LabelSettings, root: str) -> Iterable[str]:
        """The images, the models, and the file of an external model."""
        images = layout.images(root, settings.dataset, settings.version)
        own = [layout.model(root, settings.dataset, model) for model in settings.models]
        return [images, *own, *(path for _, path in settings.paths())]

    def writes(self, settings: LabelSettings, root: str) -> Iterable[str]:
        """The label sets."""
        return [
            layout.labels(root, settings.dataset, model, split)
            for model in _models(settings)
            for split in settings.splits
        ]

    def plan(self, settings: LabelSettings, context: Context) -> Plan:
        """Which shards of each label set are missing.

        Raises:
            IncompleteError: the images or a model are not there.
            InputError: a model does not fit the dataset, or there is no such split.
        """
        images = products.image_set(context.root, settings.dataset, settings.version)
        if settings.model_file and not is_imported(settings, context.root, images):
            return self._plan_import(settings, images)
        cards = {model: model_cards.require_fitting_card(images, model) for model in _models(settings)}
        plans = tuple(plan_labels(settings, context.root, images, model, card) for model, card in cards.items())
        work = Labelling(plans, settings.max_reject_fraction, settings, cards)
        seconds = {model: scoring.network_hint(card.network, card.image_shape)[0] for model, card in cards.items()}
        return self.plan_products(settings, work, seconds, context.force)

    def _plan_import(self, settings: LabelSettings, images: ImageSet) -> Plan:
        """All splits of all models: what is done is known only when the external model is imported."""
        planned = [
            Product(f"{settings.dataset}/{model}/{split}", State.TO_DO, records=images.images_in(split))
            for model in _models(settings)
            for split in settings.splits
        ]
        return Plan(settings, tuple(planned), None)

    def run_one(self, stage: str, plan: Plan, context: Context) -> list[StageResult]:
        """Import the external model first, where it is not there yet."""
        settings: LabelSettings = plan.settings
        if settings.model_file and (plan.work is None or context.force):
            images = products.image_set(context.root, settings.dataset, settings.version)
            import_model(settings, context.root, images, context.force)
            plan = self.plan(settings, context)
        return super().run_one(stage, plan, context)

    def counted(self, work: Labelling, plan: ScorePlan) -> str:
        """Nothing where images have several labels: an image may have no row, or several."""
        return "out" if work.cards[plan.name].thresholds is None else ""

    def manifest(self, work: Labelling, plan: ScorePlan, split: str, common: dict[str, Any]) -> LabelsManifest:
        """Which state of a model labelled; of folds, the split whose images were scored by networks without them."""
        card = work.cards[plan.name]
        return LabelsManifest(
            **common,
            folds=len(card.members),
            folds_of=card.fold_split,
            annotator=plan.name,
            covers_all_images=True,
            model=card.fingerprint,
            weights=card.weights_sha256,
            thresholds=dict(zip(card.classes, card.thresholds, strict=True)) if card.thresholds else {},
            calibration=card.calibration.model_dump(exclude_defaults=True) if card.calibration else {},
        )


def _models(settings: LabelSettings) -> tuple[str, ...]:
    return (*settings.models, *([settings.annotator] if settings.annotator else []))


def temperatures(card: ModelCard, split: str) -> tuple[dict[str, float] | None, ...]:
    """By which the labels of a split are calibrated, as `Answers` takes them; none for models that have none.

    Of a model of folds, each image of the divided split is labelled by one fold, and has that fold's own; images of
    other splits get the mean of all folds' scores, which has temperatures of its own.
    """
    fitted = card.calibration or Calibration()
    if fitted.folds and split == card.fold_split:
        return tuple(fold.temperatures for fold in fitted.folds)
    return (fitted.temperatures,) if fitted.temperatures else ()


def plan_labels(settings: LabelSettings, root: str, images: ImageSet, model: str, card: ModelCard) -> ScorePlan:
    """What one model labels, done or not."""
    outputs, rejects, answers = label_sets(settings, root, images, model, card)
    return ScorePlan(
        stage="label",
        name=model,
        images=images,
        outputs=outputs,
        rejects=rejects,
        missing=(),
        load=partial(load_model, layout.model(root, images.dataset, model), settings.batch_size, settings.trust_model),
        table={split: partial(label_table, answers=one) for split, one in answers.items()},
        accelerator=settings.accelerator,
        share_model=settings.share_model,
        min_ram=settings.min_ram,
    )


def label_sets(
    settings: LabelSettings, root: str, images: ImageSet, model: str, card: ModelCard
) -> tuple[dict[str, ShardFolder], dict[str, ShardFolder], dict[str, Answers]]:
    """Of each split: where one model's labels go, where the rejects go, and how its scores are turned into labels."""
    recipe = {
        "model": card.fingerprint,
        "weights": card.weights_sha256,
        "images": images.fingerprint,
        "settings": (settings.scores, settings.batch_size),
    }
    limits = card.thresholds
    recipe |= {"thresholds": limits} if limits else {}
    outputs, rejects, answers = {}, {}, {}
    for split in settings.splits:
        name = (root, images.dataset, model, split)
        degrees = temperatures(card, split)
        answers[split] = Answers(card.task, tuple(images.classes), limits, settings.scores, degrees)
        followed = {**recipe, "temperatures": degrees} if any(degrees) else recipe
        rest = (images.shards, products.fingerprint("label", split=split, **followed))
        outputs[split] = ShardFolder(layout.labels(*name), *rest)
        rejects[split] = ShardFolder(layout.label_rejects(*name), *rest)
    return outputs, rejects, answers


DRIVER = LabelDriver()
