"""The stages, in the order in which a chain runs them; a new verb is a line here, its settings and its driver.

What a stage names is imported when it is first needed, so that listing the verbs costs nothing.
"""

from schemas.stage import Stage

STAGES = (
    Stage("draw", "schemas.settings.draw.DrawSettings", "pipelines.draw"),
    Stage("confirm", "schemas.settings.confirm.ConfirmSettings", "pipelines.confirm.driver"),
    Stage("convert", "schemas.settings.convert.ConvertSettings", "pipelines.convert.driver"),
    Stage("import", "schemas.settings.import_labels.ImportSettings", "pipelines.import_labels.driver"),
    Stage("features", "schemas.settings.features.FeatureSettings", "pipelines.features"),
    Stage("train", "schemas.settings.train.TrainSettings", "pipelines.train.driver"),
    Stage("label", "schemas.settings.label.LabelSettings", "pipelines.label.driver"),
    Stage("agree", "schemas.settings.agree.AgreeSettings", "pipelines.agree.driver"),
    Stage("explain", "schemas.settings.explain.ExplainSettings", "pipelines.explain.driver"),
    Stage("generations", "schemas.settings.generations.GenerationsSettings", "pipelines.generations.driver"),
    Stage("label_errors", "schemas.settings.label_errors.LabelErrorSettings", "analysis.label_errors"),
    Stage("queue", "schemas.settings.queue.QueueSettings", "analysis.queue"),
    Stage("report", "schemas.settings.report.ReportSettings", "analysis.report.page"),
)


def find_stage(name: str) -> Stage:
    """The stage of a verb."""
    return next(stage for stage in STAGES if stage.name == name)
