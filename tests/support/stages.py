"""The stages as plain functions: plan and run some settings, as a chain does, and return what was done."""

from collections.abc import Sequence
from typing import Any

from pipelines import features as feature_driver
from pipelines.stages import find_stage
from schemas.stage import Context, StageResult


def draw(settings: Any, context: Context) -> StageResult:
    return find_stage("draw").execute(settings, context)[0]


def confirm(settings: Any, context: Context) -> StageResult:
    return find_stage("confirm").execute(settings, context)[0]


def convert(settings: Any, context: Context) -> StageResult:
    return find_stage("convert").execute(settings, context)[0]


def import_labels(settings: Any, context: Context) -> StageResult:
    return find_stage("import").execute(settings, context)[0]


def train(trainings: Sequence[Any], context: Context) -> list[StageResult]:
    stage = find_stage("train")
    return list(stage.run([stage.plan(one, context) for one in trainings], context))


def features(requests: Sequence[Any], context: Context) -> list[StageResult]:
    stage = find_stage("features")
    return list(stage.run([stage.plan(one, context) for one in feature_driver.merge_settings(requests)], context))


def label(settings: Any, context: Context) -> list[StageResult]:
    return find_stage("label").execute(settings, context)


def agree(settings: Any, context: Context) -> list[StageResult]:
    return find_stage("agree").execute(settings, context)


def explain(settings: Any, context: Context) -> list[StageResult]:
    return find_stage("explain").execute(settings, context)


def generations(settings: Any, context: Context) -> list[StageResult]:
    return find_stage("generations").execute(settings, context)
