"""The join as a newcomer to Beam would write it: one row an element. A peer of `concord confirm`, no part of it.

python -m benchmarks.naive_confirm machine.csv human.csv OUTPUT_PREFIX
"""

import csv
import logging
import sys
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

Keyed = tuple[tuple[str, str], float]


def parse(line: str) -> Keyed:
    """A row by image and label."""
    image_id, _, label, confidence = next(csv.reader([line]))
    return (image_id, label), float(confidence)


def judged(entry: tuple[tuple[str, str], dict[str, Any]]) -> Iterator[str]:
    """The machine's rows that people judged."""
    (image_id, label), sides = entry
    for confidence in sides["machine"]:
        for human in sides["human"]:
            yield f"{image_id},{label},{confidence},{'confirmed' if human == 1 else 'rejected'}"


def main(machine: str, human: str, output: str) -> None:
    """Join the two files."""
    logging.disable(logging.WARNING)
    with beam.Pipeline("FnApiRunner", options=PipelineOptions(["--direct_num_workers=2"])) as pipeline:
        sides = {
            name: pipeline
            | f"Read {name}" >> beam.io.ReadFromText(path, skip_header_lines=1)
            | f"Parse {name}" >> beam.Map(parse)
            for name, path in (("machine", machine), ("human", human))
        }
        sides | beam.CoGroupByKey() | beam.FlatMap(judged) | beam.io.WriteToText(output, file_name_suffix=".csv")


if __name__ == "__main__":
    main(*sys.argv[1:])
