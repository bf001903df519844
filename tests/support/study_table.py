"""The table of a study of generations, as the stage would write it."""

from typing import Any

import pyarrow as pa

from schemas import layout
from schemas.tables import GENERATIONS
from storage import parquet
from tests.support.small_root import DATASET


def study_row(
    kind: str, generation: int | None, cut: float | None, seed: int | None, accuracy: float | None
) -> dict[str, Any]:
    """A row of the table: of one network, or without a seed of the mean of all."""
    line = "" if cut is None else f"_c{round(100 * cut):02d}"
    named = {"generation": f"x_g{generation}{line}_s{seed}"}.get(kind, f"x_all_s{seed}")
    known = {"n_labels": 120.0, "n_human_labels": 0.0, "accuracy": accuracy, "accuracy_low": 0.3, "accuracy_high": 0.9}
    found = dict.fromkeys(GENERATIONS.names) | {
        "dataset": DATASET,
        "name": "x",
        "network": "cnn2",
        "seeds": 1,
    }
    found |= {
        "kind": kind,
        "generation": generation,
        "cut": cut,
        "seed": seed,
        "note": None if accuracy else "left out: <b>",
    }
    found |= {} if seed is None else {"annotator": named, "label_set": f"{named}_of_its_teacher"}
    return found | (known if accuracy else {})


def study_rows(seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """A study of one generation, of which a threshold of 0.9 left no label."""
    cells: list[tuple[str, int | None, float | None, float | None]] = [
        ("everything", None, None, 0.8),
        ("generation", 0, None, 0.7),
    ]
    cells += [("generation", 1, 0.0, 0.65), ("generation", 1, 0.9, None)]
    return [study_row(kind, number, cut, seed, right) for kind, number, cut, right in cells for seed in (*seeds, None)]


def write_study(root: str, rows: list[dict[str, Any]]) -> None:
    """Write the table of the study `x`."""
    path = layout.generations_table(root, DATASET, "x")
    parquet.write(path, pa.Table.from_pylist(rows, schema=GENERATIONS), "f" * 16)
