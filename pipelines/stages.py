"""The stages, in the order in which a chain runs them; adding a verb is adding a line here, and its driver.

Each driver's module is imported when it is first needed, so that listing the verbs costs nothing.
"""

from schemas.generation_settings import GenerationsSettings
from schemas.queue_settings import LabelErrorSettings, QueueSettings
from schemas.settings import (
    AgreeSettings,
    ConfirmSettings,
    ConvertSettings,
    DrawSettings,
    ExplainSettings,
    ImportSettings,
    LabelSettings,
    ReportSettings,
)
from schemas.stage import Stage
from schemas.train_settings import FeatureSettings, TrainSettings

STAGES = (
    Stage("draw", DrawSettings, "pipelines.draw"),
    Stage("confirm", ConfirmSettings, "pipelines.confirm.driver"),
    Stage("convert", ConvertSettings, "pipelines.convert.driver"),
    Stage("import", ImportSettings, "pipelines.import_labels.driver"),
    Stage("features", FeatureSettings, "pipelines.features"),
    Stage("train", TrainSettings, "pipelines.train.driver"),
    Stage("label", LabelSettings, "pipelines.label.driver"),
    Stage("agree", AgreeSettings, "pipelines.agree.driver"),
    Stage("explain", ExplainSettings, "pipelines.explain.driver"),
    Stage("generations", GenerationsSettings, "pipelines.generations.driver"),
    Stage("label_errors", LabelErrorSettings, "analysis.label_errors"),
    Stage("queue", QueueSettings, "analysis.queue_table"),
    Stage("report", ReportSettings, "analysis.report"),
)


def find_stage(name: str) -> Stage:
    """The stage of a verb."""
    return next(stage for stage in STAGES if stage.name == name)
