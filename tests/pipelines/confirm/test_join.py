"""The join of one shard, against dictionaries and loops in plain Python."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.confirm import join
from pipelines.confirm.join import VerdictRules
from schemas import tables
from storage import hashing

LABELS = ["/m/1", "/m/2", "é"]
RULES = st.builds(
    VerdictRules,
    st.sampled_from(["rejected", "confirmed", "majority", "first", "drop"]),
    st.sampled_from(["", "best", "first"]),
    st.sampled_from(["images", "all", "none"]),
)


@dataclass(frozen=True)
class One:
    """A row of one side."""

    image: int
    label: str
    value: float
    order: int


def rows(values: list[float]) -> st.SearchStrategy[list[One]]:
    """Some rows of few images and labels, each at a place of its own in the input; the same row may come again."""
    row = st.tuples(st.sampled_from([0, 1, 2, 2**64 - 1]), st.sampled_from(LABELS), st.sampled_from(values))
    some = st.lists(row, max_size=14)
    return some.flatmap(_placed)


def _placed(found: list[tuple[int, str, float]]) -> st.SearchStrategy[list[One]]:
    places = st.permutations(range(len(found)))
    return places.map(lambda order: [One(*row, place) for row, place in zip(found, order, strict=True)])


MACHINE = rows([0.0, 0.05, 0.5, 0.5, 0.7, 0.75, 1.0])
HUMAN = rows([0.0, 1.0])


def batches(side: list[One], size: int) -> list[pa.Table]:
    """The rows as tables of at most so many, each with a dictionary of its own."""
    parts = [side[first : first + size] for first in range(0, len(side), size)]
    return [
        pa.table(
            [
                pa.array([one.image for one in part], pa.uint64()),
                pa.array([one.label for one in part]).dictionary_encode(),
                pa.array([one.value for one in part], pa.float32()),
                pa.array([one.order for one in part], pa.uint64()),
            ],
            schema=join.SIDE,
        )
        for part in parts
    ]


# --- The same by brute force --------------------------------------------------------------------

Pair = tuple[int, str]


def by_pair(side: list[One]) -> dict[Pair, list[One]]:
    found: dict[Pair, list[One]] = defaultdict(list)
    for one in sorted(side, key=lambda one: one.order):
        found[one.image, one.label].append(one)
    return found


def verdict(votes: list[One], rule: str) -> bool | None:
    """What people say, None where it is left open."""
    values = [vote.value == 1 for vote in votes]
    if len(set(values)) == 1:
        return values[0]
    yes, no = values.count(True), values.count(False)
    by_rule = {"rejected": False, "confirmed": True, "majority": yes > no, "first": values[0], "drop": None}
    return by_rule[rule]


@dataclass
class Expected:
    """What a join should find."""

    confirmed: list[tuple[int, str, float, bool]] = field(default_factory=list)
    machine: list[tuple[int, str, float]] = field(default_factory=list)
    human: list[tuple[int, str, float]] = field(default_factory=list)
    tally: Counter[tuple[str, str, int]] = field(default_factory=Counter)


def decile(value: float) -> int:
    return min(int(value * 10 + 1e-6), 9)


def expect(machine: list[One], human: list[One], rules: VerdictRules) -> Expected:
    claims, votes, found = by_pair(machine), by_pair(human), Expected()
    matched = sorted(claims.keys() & votes.keys())
    verdicts = {pair: verdict(votes[pair], rules.on_conflict) for pair in matched}
    for pair in matched:
        first, *repeated = claims[pair]
        what = {True: "confirmed", False: "rejected", None: "dropped"}[verdicts[pair]]
        found.tally[what, pair[1], decile(first.value)] += 1
        found.tally.update(("duplicate_rows", pair[1], decile(one.value)) for one in repeated)
        found.tally["duplicate", "machine", 0] += len(repeated)
        found.tally["duplicate", "human", 0] += len(votes[pair]) - 1
        found.tally["conflict", "human", 0] += len({vote.value for vote in votes[pair]}) > 1
    sure = [pair for pair in matched if verdicts[pair]]
    found.tally["images", "", 0] = len({image for image, _ in sure})
    found.tally.update(per_image("confirmed", sure))
    kept = [pair for pair in matched if verdicts[pair] is not None]
    if rules.one_label:
        chosen = one_label({pair: claims[pair][0] for pair in sure}, rules.one_label)
        found.tally["other_labels", "", 0] = len(kept) - len(chosen)
        kept = [pair for pair in kept if pair in chosen]
    found.confirmed = [(*pair, claims[pair][0].value, bool(verdicts[pair])) for pair in kept]
    label_sets(found, claims, votes, {image for image, _ in sure}, rules)
    found.tally = Counter({key: n for key, n in found.tally.items() if n})
    return found


def one_label(firsts: dict[Pair, One], rule: str) -> set[Pair]:
    chosen = set()
    for image in {image for image, _ in firsts}:
        mine = [one for one in firsts.values() if one.image == image]
        best = max(mine, key=lambda one: (one.value if rule == "best" else 0, -one.order))
        chosen.add((image, best.label))
    return chosen


def per_image(name: str, pairs: list[Pair]) -> Counter[tuple[str, str, int]]:
    labels = Counter(image for image, _ in pairs)
    return Counter(("labels_per_image", name, n) for n in labels.values())


def label_sets(
    found: Expected, claims: dict[Pair, list[One]], votes: dict[Pair, list[One]], images: set[int], rules: VerdictRules
) -> None:
    if rules.label_sets == "none":
        return
    for name, side in (("machine", claims), ("human", votes)):
        kept = {pair: some for pair, some in sorted(side.items()) if rules.label_sets == "all" or pair[0] in images}
        said: dict[Pair, Any] = {pair: verdict(some, rules.on_conflict) for pair, some in kept.items()}
        if name == "machine":
            found.machine = [(*pair, some[0].value) for pair, some in kept.items()]
        else:
            found.human = [(*pair, float(said[pair])) for pair in kept if said[pair] is not None]
        pairs = [row[:2] for row in (found.machine if name == "machine" else found.human)]
        found.tally["set_rows", name, 0] = len(pairs)
        found.tally["set_repeated", name, 0] = sum(map(len, kept.values())) - len(pairs)
        found.tally.update(per_image(name, pairs))


# --- Against it ---------------------------------------------------------------------------------


def plain(side: join.Rows, names: tuple[str, ...]) -> list[tuple[int, str, float]]:
    found = zip(side.images.tolist(), side.labels.tolist(), side.values.tolist(), strict=True)
    return [(image, names[label], round(value, 6)) for image, label, value in found]


@settings(max_examples=150)
@given(MACHINE, HUMAN, RULES, st.integers(1, 5), st.randoms(use_true_random=False))
def test_what_a_join_finds(machine: list[One], human: list[One], rules: VerdictRules, size: int, random: Any) -> None:
    """Whatever the batches, and the order in which they arrive."""
    expected = expect(machine, human, rules)
    sides = [batches(random.sample(side, len(side)), size) for side in (machine, human)]
    found = join.join(sides[0], sides[1], rules)
    rows = plain(found.confirmed, found.names)
    assert [(*row, bool(sure)) for row, sure in zip(rows, found.verdicts, strict=True)] == expected.confirmed
    assert sorted(plain(found.machine, found.names)) == expected.machine
    assert sorted(plain(found.human, found.names)) == expected.human
    tally = {(row["what"], row["name"], row["number"]): row["n"] for row in found.tally.to_pylist()}
    assert tally == expected.tally


CLAIM = [One(5, "/m/1", 0.75, 3)]
VOTES = {"no, yes": (0, 1), "yes, no": (1, 0), "no, yes, yes": (0, 1, 1), "yes, no, no": (1, 0, 0), "yes, yes": (1, 1)}
SETTLED = {
    "rejected": {"yes, yes"},
    "confirmed": set(VOTES),
    "majority": {"no, yes, yes", "yes, yes"},
    "first": {"yes, no", "yes, no, no", "yes, yes"},
    "drop": {"yes, yes"},
}


@pytest.mark.parametrize("rule", SETTLED)
def test_each_rule_for_people_who_differ(rule: str) -> None:
    for name, votes in VOTES.items():
        human = [One(5, "/m/1", value, order) for order, value in enumerate(votes)]
        found = join.join(batches(CLAIM, 1), batches(human[::-1], 1), VerdictRules(rule, "", "none"))
        if rule == "drop" and name != "yes, yes":
            assert len(found.confirmed) == 0
        else:
            assert found.verdicts.tolist() == [name in SETTLED[rule]], (rule, name)


def test_one_label_an_image_the_first_or_the_best() -> None:
    machine = [One(5, "b", 0.7, 1), One(5, "a", 0.9, 2), One(5, "c", 0.9, 0), One(5, "d", 1.0, 3), One(6, "a", 0.1, 4)]
    human = [One(one.image, one.label, float(one.label != "d"), one.order) for one in machine]
    for rule, label in (("first", "c"), ("best", "c"), ("", "abcd")):
        found = join.join(batches(machine, 2), batches(human, 2), VerdictRules("rejected", rule, "none"))
        assert [found.names[one] for one in found.confirmed.labels] == [*label, "a"]


def test_nothing_at_all() -> None:
    for rules in (
        VerdictRules("rejected", "best", "images"),
        VerdictRules("drop", "", "all"),
        VerdictRules("first", "", "none"),
    ):
        found = join.join([], [], rules)
        assert (len(found.confirmed), len(found.machine), len(found.human), len(found.tally)) == (0, 0, 0, 0)


# --- Deciles and tables -------------------------------------------------------------------------


def test_deciles_are_those_of_the_written_numbers() -> None:
    texts = [f"{number / 10**digits:.{digits}f}" for digits in (1, 2, 4) for number in range(10**digits + 1)]
    found = join.deciles(np.array([np.float32(text) for text in texts]))
    assert found.tolist() == [9 if text[0] == "1" else int(text[2]) for text in texts]


FRACTIONS = {"train": 0.5, "validation": 0.3, "test": 0.2}


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2), st.sampled_from([0.25, 1.0])), max_size=30))
def test_a_label_set_lies_in_its_splits_in_hash_order(some: list[tuple[int, int, float]]) -> None:
    images = np.array([row[0] for row in some], dtype=np.uint64)
    labels = np.array([row[1] for row in some], dtype=np.int64)
    values = np.array([row[2] for row in some], dtype=np.float32)
    rows, sure = join.Rows(images, labels, values, images), values == 1
    for verdicts in (sure, None):
        found = join.label_table(rows, LABELS, verdicts, FRACTIONS)
        assert list(found) == list(FRACTIONS)
        ids = [f"{row[0]:016x}" for row in some]
        splits = dict(zip(ids, hashing.split_of(ids, FRACTIONS).tolist(), strict=True))
        for split, table in found.items():
            assert table.schema.equals(tables.LABELS)
            mine = [(f"{image:016x}", LABELS[label], value) for image, label, value in some]
            mine = sorted(
                (row for row in mine if splits[row[0]] == split),
                key=lambda row: (int(hashing.image_hashes([row[0]])[0]), row[0], row[1]),
            )
            got = table.to_pylist()
            assert sorted((r["image_id"], r["label"], r["confidence"]) for r in got) == sorted(mine)
            assert [(r["image_id"], r["label"]) for r in got] == [row[:2] for row in mine]
            word = {1.0: "confirmed", 0.25: "rejected"}
            assert [r["verdict"] for r in got] == [None if verdicts is None else word[r["confidence"]] for r in got]
            assert {r[name] for r in got for name in ("confidence_calibrated", "scores")} <= {None}
