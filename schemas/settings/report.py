"""Write the report page from the agreement tables, label sets and images."""

from schemas.settings.base import DatasetSettings, Names, setting


class ReportSettings(DatasetSettings):
    """Which dataset is reported."""

    models: Names = setting(
        "models whose learning curves are shown (default: all of the dataset)", default=(), group="Data"
    )
