"""The table of `generations`: how right each network is that a network taught, and what its labels cost people."""

import pyarrow as pa

from schemas.tables import described

GENERATION, TAUGHT_SHARE, EVERYTHING = "generation", "taught_share", "everything"  # kinds of rows


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False, unit: str = "") -> pa.Field:
    return described(name, kind, description, nullable, unit or ("1" if pa.types.is_floating(kind) else ""))


def _interval(name: str, what: str, method: str) -> list[pa.Field]:
    over = "of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed"
    return [
        _field(name, pa.float64(), what, True),
        _field(f"{name}_low", pa.float64(), f"lower end of its 95 % interval ({method}; {over})", True),
        _field(f"{name}_high", pa.float64(), f"upper end of its 95 % interval ({method}; {over})", True),
    ]


def _count(name: str, what: str) -> pa.Field:
    return _field(name, pa.float64(), f"{what}; of a mean over seeds, their mean", True, "images")


GENERATIONS = pa.schema(
    [
        _field("dataset", pa.string(), "name of the dataset"),
        _field("name", pa.string(), "name of the study"),
        _field(
            "kind",
            pa.string(),
            "generation; or what it is to be held against: taught_share (the same network, taught by people's labels "
            "of the taught share alone) or everything (by people's labels of the whole split)",
        ),
        _field("generation", pa.int32(), "0 is taught by people, 1 by generation 0, ...; null for a reference", True),
        _field("cut", pa.float64(), "labels less confident were not taught; null where people teach", True),
        _field("seed", pa.int64(), "seed of the network and of all before it; null for the mean over seeds", True),
        _field("seeds", pa.int32(), "how many seeds the row speaks of; those left out do not count"),
        _field("network", pa.string(), "its architecture, by name"),
        _field("annotator", pa.string(), "name of the model and of its label set; null for the mean over seeds", True),
        _field(
            "teacher", pa.string(), "annotator whose labels taught it; null for the mean over seeds of pupils", True
        ),
        _field("label_set", pa.string(), "the label set of those labels; null as teacher is", True),
        _count("taught", "labels that it learnt from, in the split that is learnt from"),
        _count("by_people", "of them, labels that people had to give"),
        _field("by_people_share", pa.float64(), "by_people, as a share of the split's images, in [0, 1]", True),
        _count("spared", "of taught, labels that no person had to give"),
        _count("validation", "labels of the validation split by which its training stopped, of the same teacher"),
        _count(
            "taught_known", "labels taught by a machine of images that people labelled as well; null where people teach"
        ),
        _field("taught_right", pa.float64(), "share of taught_known that is as people say, in [0, 1]", True),
        _field("n", pa.int64(), "test images that it was judged on; null where it was left out", True, "images"),
        *_interval("accuracy", "share of them that it labels as people do, in [0, 1]", "Wilson"),
        *_interval(
            "agreement", "share of test images it labels as its teacher does; null where people teach", "Wilson"
        ),
        *_interval(
            "lost",
            "accuracy of the reference `everything` of the same seed minus its own, on the same images; negative where "
            "it is the better one",
            "of paired proportions, method 10 of Newcombe 1998",
        ),
        _field("note", pa.string(), "why a network was left out; null where it was not", True),
    ]
)
