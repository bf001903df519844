"""Labelling as Beam sees it: a handler that travels to workers, and the steps that ask for an accelerator."""

import pickle
import weakref

import apache_beam as beam

from pipelines.label.driver import DRIVER
from pipelines.scoring import ScoreImages, ScorePlan, ShardScorer
from schemas.settings.base import GPU_HINT
from schemas.settings.label import LabelSettings
from schemas.stage import Context


def planned(root: str, split: str) -> ScorePlan:
    settings = LabelSettings(dataset="drawn", models=("cnn1",), splits=(split,), batch_size=8)
    [plan] = DRIVER.plan(settings, Context(root)).work.plans
    assert isinstance(plan, ScorePlan)
    return plan


def test_the_handler_pickles_and_its_model_can_be_shared(trained: str) -> None:
    copy = pickle.loads(pickle.dumps(ShardScorer(planned(trained, "train"))))
    model = copy.load_model()
    assert model.image_shape == (32, 32, 1)
    assert weakref.ref(model)() is model
    assert copy.batch_elements_kwargs() == {"min_batch_size": 1, "max_batch_size": 1}


def test_labelling_and_its_write_alone_ask_for_an_accelerator(trained: str) -> None:
    plan = planned(trained, "train")
    assert len(plan.missing) == 8
    pipeline = beam.Pipeline()
    pipeline | ScoreImages(plan)
    proto = pipeline.to_runner_api().components
    asked = {
        "/".join(transform.unique_name.split("/")[1:3])
        for transform in proto.transforms.values()
        if not transform.subtransforms and transform.environment_id
        for key, value in proto.environments[transform.environment_id].resource_hints.items()
        if "accelerator" in key and value == GPU_HINT.encode()
    }
    assert asked == {"Score/Infer", "Score/Write"}
