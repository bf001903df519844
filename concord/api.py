"""A root in Python: its tables as pandas, Polars or Arrow, its images, and chains that are run.

import concord

root = concord.open("out")
root.summary()
root.pairs("cnn1", "cnn2", split="test")
root.query("select * from disagreements order by lower_confidence desc limit 10")
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa
from PIL import Image

from analysis import query, thumbnails
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.stage import Context, StageResult
from storage import products, stores
from storage.tables import TABLES

Form = Literal["pandas", "polars", "arrow"]


@dataclass(frozen=True)
class Root:
    """The folder that a chain wrote, local, `gs://` or `s3://`.

    Every method that gives rows gives all of them, as a `pandas.DataFrame`, a `polars.DataFrame` or a `pyarrow.Table`.
    Arguments that are empty or left out do not restrict the rows.

    Attributes:
        path: of the folder.
        form: what rows are given as.

    Raises:
        InputError: there is no such folder, table, column or image.
        IncompleteError: a file is damaged or missing.
    """

    path: str
    form: Form = "pandas"

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise InputError(f"form must be one of {', '.join(get_args(Form))}, got {self.form!r}")
        if not stores.is_folder(self.path):
            raise InputError(f"there is no folder {self.path}: name the root of a run, or run concord run first")

    def summary(self, dataset: str = "", split: str = "") -> Any:
        """One row per comparison of two annotators: agreement and accuracy, with 95 % intervals."""
        return self.table("summary", dataset=dataset, split=split)

    def measures(self, dataset: str = "", split: str = "", scope: str = "", measure: str = "") -> Any:
        """One row per figure, also of single classes and of three annotators or more; `scope` and `measure` choose."""
        return self.table("measures", dataset=dataset, split=split, scope=scope, measure=measure)

    def pairs(self, annotator_a: str, annotator_b: str, dataset: str = "", split: str = "") -> Any:
        """One row per image that both annotators labelled; in multilabel datasets, per image and class."""
        return self.table("pairs", dataset=dataset, split=split, annotator_a=annotator_a, annotator_b=annotator_b)

    def confusion(self, annotator_a: str, annotator_b: str, dataset: str = "", split: str = "") -> Any:
        """How often the one annotator gave one label where the other gave another."""
        return self.table("confusion", dataset=dataset, split=split, annotator_a=annotator_a, annotator_b=annotator_b)

    def labels(self, annotator: str, dataset: str = "", split: str = "") -> Any:
        """The labels of one annotator, such as a model or `human`."""
        return self.table("labels", dataset=dataset, split=split, annotator=annotator)

    def table(self, name: str, **keys: str) -> Any:
        """The rows of any table or view of `docs/tables.md` whose columns have the values of `keys`."""
        return self._shaped(self._select(name, _stated(keys)))

    def query(self, sql: str) -> Any:
        """The rows of one statement of DuckDB's SQL over the tables of `docs/tables.md`."""
        return self._shaped(query.fetch(self.path, sql, TABLES))

    def image(self, image_id: str, dataset: str = "", split: str = "", version: str = "1.0.0") -> Image.Image:
        """An image as it is stored; `dataset` and `split` are needed where several have an image of this id."""
        keys = {"image_id": image_id, **_stated({"dataset": dataset, "split": split})}
        places = self._select("index", keys).to_pylist()
        if len(places) != 1:
            several = ", ".join(f"{place['dataset']}/{place['split']}" for place in places)
            problem = f"is in {several}: set dataset and split" if places else "is in no index"
            raise InputError(f"image {image_id!r} {problem}")
        dataset, split = places[0]["dataset"], places[0]["split"]
        images = products.image_set(self.path, dataset, version)
        ((shard, ids),) = thumbnails.group_by_shard([image_id], images.shards).items()
        ((_, encoded),) = thumbnails.read_encoded(images, split, shard, ids)
        if encoded is None:
            raise IncompleteError(f"the record of image {image_id!r} is damaged: run concord convert --force")
        return Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG"))

    def _select(self, name: str, keys: Mapping[str, str]) -> pa.Table:
        where = " and ".join(f'"{key}" = ?' for key in keys)
        sql = f"select * from {name}{where and f' where {where}'}"
        return query.fetch(self.path, sql, TABLES, list(keys.values()))

    def _shaped(self, rows: pa.Table) -> Any:
        if self.form == "pandas":
            return rows.to_pandas()
        if self.form == "polars":
            try:
                import polars
            except ImportError as error:
                raise InputError("form 'polars' needs Polars: pip install polars") from error
            return polars.from_arrow(rows)
        return rows


def _stated(keys: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in keys.items() if value}


def run(
    run_file: str, root: str = "out", runner: str = "DirectRunner", data: str = "", **beam: str
) -> list[StageResult]:
    """Run the chain of a run file, as `concord run` does; what is up to date is not run again.

    Args:
        run_file: a TOML file.
        root: folder that is written, local, `gs://` or `s3://`.
        runner: of Beam.
        data: the folder that `{data}` stands for in the run file.
        beam: other options of Beam, such as `direct_num_workers="2"`.

    Returns:
        what each stage did.

    Raises:
        ConcordError: in one line, what is wrong and what helps.
    """
    from pipelines import chain
    from pipelines.runners import dataflow

    options: Mapping[str, str] = {"runner": runner, **beam}
    flags = tuple(f"--{name}={value}" for name, value in options.items())
    loaded = chain.load_run_file(run_file, root, data)
    if dataflow.is_requested(flags):
        dataflow.check_places(root, loaded)
    return chain.run_chain("run", loaded, Context(layout.absolute(root), flags), lambda _: None).results
