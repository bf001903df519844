"""On paper: the stages that compute with networks (features, train, label, explain)."""

import dataclasses
import math
from collections.abc import Sequence

from models import networks
from pipelines import features as feature_stage
from pipelines.explain import driver as explain_stage
from pipelines.label import driver as label_stage
from pipelines.preflight import paces, sizes
from pipelines.preflight.prospect import Images, Labels, Model, Prospect, State, Step, WaitsError, state_of
from pipelines.train import driver as train_stage
from schemas import layout, plugins, sweeps, tables
from schemas.errors import InputError
from schemas.manifests import MULTILABEL
from schemas.settings.explain import ExplainSettings
from schemas.settings.features import FeatureSettings
from schemas.settings.label import LabelSettings
from schemas.settings.train import TrainSettings
from storage import model_cards, products, stores

NETWORK_BYTES = 900 << 20  # of a worker that computes with TensorFlow, without the network itself
LABELS_AN_IMAGE = 2.5  # of several
PICTURE_BYTES = 25_000  # of an explanation
WITHOUT_CONVOLUTIONS = ("logistic", "ann1", "ann2")
HEAD_EPOCHS = 1 / paces.HEADS_A_SECOND


def network_shape(network: str, image_size: int, images: Images) -> tuple[int, int, int] | None:
    """Height, width and channels of a network's input: as set, else its own, else the images'."""
    known = paces.NETWORKS.get(network)
    transfer = bool(known and known.features)
    channels = 3 if transfer else images.shape[2] if images.shape else 3
    if image_size:
        return image_size, image_size, channels
    return known.shape if known and transfer else images.shape


def features(asked: Sequence[FeatureSettings], prospect: Prospect) -> None:
    """The features of backbones."""
    for settings in asked:
        with prospect.attempt("features", f"{settings.dataset}/{settings.network}"):
            plugins.check(networks, "network", settings.network)
            if not plugins.defines(networks, settings.network, "TRANSFER"):
                raise InputError(f"network {settings.network!r} has no backbone: features are of transfer networks")
            backbone = feature_stage.backbone_key(settings)  # its weights are there, if they are a file
            images = prospect.find_images(settings.dataset, settings.version)
            _features(settings, prospect, images, backbone)


def _features(settings: FeatureSettings, prospect: Prospect, images: Images, backbone: str) -> None:
    for split in settings.splits:
        images.images_in(split)
    states = dict.fromkeys(settings.splits, (State.TO_DO, images.shards))
    if not prospect.is_fresh(images):
        there = products.image_set(prospect.root, settings.dataset, settings.version)
        outputs, rejects = feature_stage.feature_sets(settings, prospect.root, there, backbone)
        states = state_of({split: (outputs[split], rejects[split]) for split in outputs}, force=False)
    known = paces.NETWORKS.get(settings.network)
    shape = network_shape(settings.network, settings.image_size, images)
    size = 4 * (known.features if known else 2048) * 0.8
    if settings.network == "vgg16" and shape:
        size = 4 * 512 * (shape[0] // 32) * (shape[1] // 32) * 0.8
    for split, (state, missing) in states.items():
        product, count = f"{settings.dataset}/{backbone}/{split}", images.images_in(split)
        if any(one.product == product for one in prospect.steps):
            continue  # another head's, too
        kept = int((count * (size + 16) + images.shards * 2_500) * missing / images.shards)
        kept += sizes.reject_bytes(missing) if missing else 0
        step = _scoring("features", product, (state, missing), images, split, settings.network, shape, kept)
        prospect.add(dataclasses.replace(step, accelerator=bool(settings.accelerator)))


def _scoring(
    stage: str,
    product: str,
    found: tuple[State, int],
    images: Images,
    split: str,
    network: str,
    shape: tuple[int, int, int] | None,
    kept: int,
) -> Step:
    """A network that looks at the images of a split once."""
    state, missing = found
    count = images.images_in(split)
    shard = int(math.ceil(count / images.shards) * images.record_bytes)
    return Step(
        *(stage, product, state, count, count, images.exact),
        elements={stage: missing} if missing else {},
        element_bytes=shard if missing else 0,
        kept_bytes=kept,
        worker_bytes=NETWORK_BYTES + sizes.weights_bytes(network, shape) + 3 * shard,
        kind=network,
        units=count * missing / images.shards,
        unit_seconds=paces.scored(network, shape),
    )


def train(asked: Sequence[TrainSettings], prospect: Prospect) -> None:
    """Models, side by side."""
    names = [(one.dataset, one.name) for one in asked]
    for dataset, name in dict.fromkeys(names):
        if names.count((dataset, name)) > 1:
            prospect.tell("train", f"two models of {dataset!r} are called {name!r}: give each a name of its own")
    for settings in asked:
        prospect.models[settings.dataset, settings.name] = None
        prospect.unknown.add((settings.dataset, settings.name))
        with prospect.attempt("train", f"{settings.dataset}/{settings.name}"):
            plugins.check(networks, "network", settings.network)
            products.weights_identity(settings.weights)
            _train(settings, prospect)


def _train(settings: TrainSettings, prospect: Prospect) -> None:
    images = prospect.find_images(settings.dataset, settings.version)
    images.images_in(settings.split)
    learned = [settings.split, *([settings.validation] if settings.validation in images.splits else [])]
    wanted = [(settings.labels, split) for split in learned]
    wanted += [(settings.reference or settings.labels, split) for split in settings.evaluate]
    read = [prospect.find_labels(settings.dataset, annotator, split) for annotator, split in wanted]
    jobs = settings.folds or (len(sweeps.members(settings)) if settings.sweep else 1)
    state, missing = State.TO_DO, jobs
    if not prospect.is_fresh(images, *read):
        plan = train_stage.plan(settings, prospect.root)
        there = [model_cards.is_current(job.folder, job.fingerprint) for job in plan.jobs]
        missing = there.count(False)
        state = State.PARTLY if any(there) else State.TO_DO
        if model_cards.is_current(plan.folder, plan.fingerprint):
            state, missing = State.DONE, 0
    shape = network_shape(settings.network, settings.image_size, images)
    model = Model(settings.network, state is not State.DONE, shape, settings.folds, settings.split)
    prospect.models[settings.dataset, settings.name] = model
    prospect.unknown.discard((settings.dataset, settings.name))
    head = not settings.augment and plugins.defines(networks, settings.network, "TRANSFER")
    if head and missing:
        splits = tuple(dict.fromkeys((*learned, *settings.evaluate)))
        features([FeatureSettings.of(settings, splits)], prospect)
    step = _training(settings, images, read[0], (state, missing), head)
    if stores.is_remote(prospect.root) and missing and not head:  # the images are brought to each training
        copied = int(sum(map(images.images_in, learned)) * images.record_bytes)
        step = dataclasses.replace(step, scratch_bytes=step.scratch_bytes + copied)
    prospect.add(step)


def _training(settings: TrainSettings, images: Images, labels: Labels, found: tuple[State, int], head: bool) -> Step:
    state, missing = found
    shape = network_shape(settings.network, settings.image_size, images)
    count = min(images.images_in(settings.split), labels.rows) or images.images_in(settings.split)
    share = (settings.folds - 1) / settings.folds if settings.folds else 1.0
    weights = sizes.weights_bytes(settings.network, shape)
    payload = int(sum(images.splits.values()) * images.record_bytes)
    kept = sizes.model_bytes(settings.network, shape)
    elements = -(-missing // train_stage.HEADS_A_PROCESS) if head and not settings.fine_tune_from else missing
    return Step(
        *("train", f"{settings.dataset}/{settings.name}", state, count, count, images.exact and labels.exact),
        elements={"train": elements} if missing else {},
        kept_bytes=kept * missing + (kept if settings.sweep and missing else 0),
        passing_bytes=weights * sizes.HOLDS * missing,
        scratch_bytes=kept if missing else 0,
        worker_bytes=NETWORK_BYTES + 4 * weights + payload,
        kind=settings.network,
        units=count * share * settings.epochs * missing,
        unit_seconds=HEAD_EPOCHS if head else paces.scored(settings.network, shape, learning=True),
        accelerator=bool(settings.accelerator),
    )


def label(settings: LabelSettings, prospect: Prospect) -> None:
    """The label sets of models."""
    for name in (*settings.models, *([settings.annotator] if settings.annotator else [])):
        prospect.unknown.add((settings.dataset, name))
        for split in settings.splits:
            prospect.labels[settings.dataset, name, split] = None
        with prospect.attempt("label", f"{settings.dataset}/{name}"):
            images = prospect.find_images(settings.dataset, settings.version)
            model = _foreign(settings, prospect) if name == settings.annotator else _model(prospect, images, name)
            for split in settings.splits:
                with prospect.attempt("label", f"{settings.dataset}/{name}/{split}"):
                    _label(settings, prospect, images, name, model, split)
            prospect.unknown.discard((settings.dataset, name))


def _model(prospect: Prospect, images: Images, name: str) -> Model:
    """A model that is there or will be; one that is there has to fit the images."""
    key = (images.dataset, name)
    if key in prospect.models:
        found = prospect.models[key]
        if found is None:
            raise WaitsError
        if found.fresh or images.fresh:
            return found
    prospect.check_reachable()
    if images.fresh:
        card = model_cards.require_card(layout.model(prospect.root, *key))
    else:
        card = model_cards.fitting_card(products.image_set(prospect.root, images.dataset, images.version), name)
    shape = tuple(card["image_shape"]) if card.get("image_shape") else None
    return Model(str(card.get("network", "")), False, shape, int(card.get("folds", 0)))


def _foreign(settings: LabelSettings, prospect: Prospect) -> Model:
    """A network that Concord did not train: its file is there, and whether it was taken up already."""
    path = settings.model_file
    prospect.check_reachable(path)
    if not stores.is_folder(path):
        products.input_identity(path)
    known = model_cards.find_card(layout.model(prospect.root, settings.dataset, settings.annotator))
    return Model("foreign", known is None, tuple(known["image_shape"]) if known else None)


def _label(settings: LabelSettings, prospect: Prospect, images: Images, name: str, model: Model, split: str) -> None:
    count = images.images_in(split)
    found = State.TO_DO, images.shards
    if not prospect.is_fresh(images, model):
        there = products.image_set(prospect.root, settings.dataset, settings.version)
        card = model_cards.fitting_card(there, name)
        outputs, rejects, _ = label_stage.label_sets(settings, prospect.root, there, name, card)
        found = state_of({split: (outputs[split], rejects[split])}, force=False)[split]
    state, missing = found
    rows = count * (LABELS_AN_IMAGE if images.task == MULTILABEL else 1)
    exact = images.exact and images.task != MULTILABEL
    scores = images.classes if settings.scores else 0
    kept = sizes.label_bytes(rows, images.shards, scores) + sizes.reject_bytes(images.shards)
    fresh = state is not State.DONE
    prospect.labels[settings.dataset, name, split] = Labels(int(rows), images.shards, fresh, exact)
    product = f"{settings.dataset}/{name}/{split}"
    kept = kept * missing // images.shards
    step = _scoring("label", product, found, images, split, model.network, model.shape, kept)
    prospect.add(dataclasses.replace(step, accelerator=bool(settings.accelerator)))


def explain(settings: ExplainSettings, prospect: Prospect) -> None:
    """Pictures of where networks looked; how many follows from what annotators differ on."""
    planned = [prospect.models.get((settings.dataset, name)) for name in settings.models]
    blind = [bool(model and model.network in WITHOUT_CONVOLUTIONS) for model in planned]
    if all(blind):
        message = f"none of {', '.join(settings.models)} has convolutions, and so places where it looks: choose another"
        prospect.tell("explain", message)
    for name in (name for name, skipped in zip(settings.models, blind, strict=True) if not skipped):
        product = f"{settings.dataset}/{name}/{settings.split}"
        with prospect.attempt("explain", product):
            images = prospect.find_images(settings.dataset, settings.version)
            images.images_in(settings.split)
            model = _model(prospect, images, name)
            _explain(settings, prospect, images, name, model)


def _explain(settings: ExplainSettings, prospect: Prospect, images: Images, name: str, model: Model) -> None:
    product = f"{settings.dataset}/{name}/{settings.split}"
    fresh = prospect.is_fresh(images, model) or any(
        one.stage == "agree" and one.state is not State.DONE and one.product.startswith(settings.dataset + "/")
        for one in prospect.steps
    )
    count, exact = len(settings.images) + settings.disagreements * max(1, len(settings.models) - 1), False
    state, missing = State.TO_DO, images.shards
    if not fresh:
        there = products.image_set(prospect.root, settings.dataset, settings.version)
        asked = explain_stage.asked_images(settings, prospect.root, name)
        output = explain_stage.explanations(settings, there, model_cards.fitting_card(there, name), asked)
        count, exact = len(asked), True
        if explain_stage.is_current(output):
            state, missing = State.DONE, 0
    step = Step(
        *("explain", product, state, count, count, exact),
        elements={"explain": min(count, missing)} if missing else {},
        element_bytes=images.shard_bytes if missing else 0,
        kept_bytes=(count * PICTURE_BYTES + 400_000 + sizes.table_bytes(tables.REJECTS, 0, min(count, missing) or 1))
        if missing
        else 0,
        worker_bytes=NETWORK_BYTES + sizes.weights_bytes(model.network, model.shape) + images.shard_bytes,
        units=count if missing else 0,
        unit_seconds=1 / paces.EXPLAINED_A_SECOND,
        accelerator=bool(settings.accelerator),
    )
    prospect.add(step)
