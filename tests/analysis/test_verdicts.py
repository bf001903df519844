"""What the page shows of human verdicts, against pandas on the rows of the files and SciPy's Wilson intervals."""

import html
import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from analysis.report.formatting import UNDEFINED, brief
from analysis.report.page import list_headlines
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from tests.support.pages import Cells, Outline, only_script, page_of, section
from tests.support.stages import confirm
from tests.support.verdict_root import (
    DATASET,
    MALFORMED_HUMAN,
    MALFORMED_MACHINE,
    NAMES,
    NEVER_SEEN,
    SELDOM,
    UNSEEN,
    VerdictRoot,
    build,
)

Tally = dict[Any, dict[str, int]]
FATES = ["confirmed", "rejected", "nobody", "left_out"]
SHOWN = {label: f"Apple ({label})" if name == "Apple" else name for label, name in NAMES.items()}


@pytest.fixture(scope="module")
def outline(verdict_page: str) -> Outline:
    return Outline(verdict_page)


@pytest.fixture(scope="module")
def rows(verdicts: VerdictRoot) -> pd.DataFrame:
    """Every machine row, with its tenth of confidence and its fate."""
    columns = ["image", "source", "label", "confidence"]
    machine, human = (pd.DataFrame(side, columns=columns) for side in (verdicts.machine, verdicts.human))
    said = human.groupby(["image", "label"])["confidence"].agg(lambda values: "".join(sorted(set(values))))
    found = machine.join(said.rename("said"), on=["image", "label"])
    repeated = found.duplicated(["image", "label"])
    assert repeated.sum() == 4
    assert (found["said"] == "01").sum() >= 5
    fate = found["said"].map({"1": "confirmed", "0": "rejected", "01": "left_out"}).fillna("nobody")
    found["fate"] = fate.mask(repeated, "left_out")
    found["decile"] = [min(round(float(text) * 100) // 10, 9) for text in found["confidence"]]
    return found


def counted(rows: pd.DataFrame, key: str) -> Tally:
    """Counts of each fate, rows and verdicts, by the values of a column in their order."""
    table = pd.crosstab(rows[key], rows["fate"]).reindex(columns=FATES, fill_value=0)
    table["rows"] = table[FATES].sum(axis=1)
    table["verified"] = table["confirmed"] + table["rejected"]
    found: Tally = table.to_dict("index")  # type: ignore[assignment]
    return found


def wilson(row: dict[str, int]) -> tuple[float, float]:
    ends = binomtest(row["confirmed"], row["verified"]).proportion_ci(method="wilson")
    return ends.low, ends.high


def shares(row: dict[str, int]) -> tuple[str, str]:
    """Precision and its interval, as the page writes them."""
    if not row["verified"]:
        return UNDEFINED, UNDEFINED
    low, high = wilson(row)
    return f"{row['confirmed'] / row['verified']:.3f}", f"{low:.3f}{UNDEFINED}{high:.3f}"


def commas(numbers: Iterable[int]) -> list[str]:
    return [f"{number:,}" for number in numbers]


def of(table: Tally, *keys: str) -> list[int]:
    """Counts of each row in turn, one kind after the other."""
    return [row[key] for key in keys for row in table.values()]


def plots(page: str) -> dict[str, ET.Element]:
    """The plots of the page, by what stands above them."""
    found = re.findall(r"<figcaption>([^<]*)</figcaption>(<svg.*?</svg>)", page, flags=re.DOTALL)
    return {html.unescape(title): ET.fromstring(svg.replace("xlink:href", "href")) for title, svg in found}


def tooltips(svg: ET.Element) -> list[str]:
    return [element.text or "" for group in svg.iter("g") for element in group.findall("title")]


def bars(svg: ET.Element, colour: str) -> list[tuple[float, float, float, float]]:
    """Left, right, top and bottom of each filled rectangle of a colour."""
    found = []
    for path in svg.iter("path"):
        if path.get("style", "").startswith(f"fill: var(--{colour})"):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d", ""))]
            found.append((min(numbers[::2]), max(numbers[::2]), min(numbers[1::2]), max(numbers[1::2])))
    return found


def proportional(lengths: Sequence[float], counts: Sequence[int]) -> bool:
    return bool(np.allclose(np.array(lengths) / max(lengths), np.array(counts) / max(counts), atol=1e-3))


def test_headlines_hold_the_figures_of_the_rows(rows: pd.DataFrame, verdicts: VerdictRoot, outline: Outline) -> None:
    fates = rows.fate.value_counts().to_dict()
    confirmed, verified = fates["confirmed"], fates["confirmed"] + fates["rejected"]
    precision, ends = shares({"confirmed": confirmed, "verified": verified})
    sure = rows[rows.fate == "confirmed"]
    images, classes = sure.image.nunique(), sure.label.nunique()
    assert list_headlines(verdicts.root, DATASET) == [
        f"humans confirmed {confirmed:,} of the {verified:,} machine labels that they reviewed (precision {precision}, "
        f"95 % interval {ends.replace(UNDEFINED, ' to ')}): {images:,} images, {classes} classes"
    ]
    text = outline.text("verdicts")
    assert f"Humans confirmed {100 * confirmed / verified:.1f} % of the {verified:,} machine labels" in text
    assert f"Not reviewed: {fates['nobody']:,} of its {len(rows):,} labels" in text
    assert f"{images:,} images have a confirmed label, {len(sure) / images:.2f} on average" in text


def test_tenths_of_confidence(rows: pd.DataFrame, outline: Outline) -> None:
    found = outline.table("Machine labels by confidence")[2:]
    table = counted(rows, "decile")
    expected: Cells = []
    for decile, row in table.items():
        above = {key: sum(other[key] for at, other in table.items() if at >= decile) for key in row}
        name = f"{decile / 10:.1f}{UNDEFINED}{(decile + 1) / 10:.1f}"
        own = commas([row["rows"], *(row[fate] for fate in FATES)])
        expected.append([name, *own, *shares(row), f"{above['rows']:,}", shares(above)[0]])
    assert found[:-1] == expected
    assert len(expected) == 7
    total = {key: sum(of(table, key)) for key in [*FATES, "rows", "verified"]}
    assert found[-1][:8] == ["all", *commas([total["rows"], *(total[fate] for fate in FATES)]), *shares(total)]


def ranking(table: Tally) -> tuple[list[str], list[str]]:
    """Labels of the classes at either end, the plain way."""
    ends = {label: wilson(row) for label, row in table.items() if row["verified"] >= 30}
    assert len(ends) > 20
    by_low = sorted(ends, key=lambda label: (-ends[label][0], label))
    return by_low[:10], sorted(ends, key=lambda label: (ends[label][1], label))[:10]


def frequent(table: Tally) -> Tally:
    seen = [label for label, row in table.items() if row["verified"]]
    seen.sort(key=lambda label: (-table[label]["confirmed"], -table[label]["verified"], label))
    return {label: table[label] for label in seen[:20]}


def test_figures_of_the_classes_shown(rows: pd.DataFrame, outline: Outline) -> None:
    table = counted(rows, "label")
    assert len(table) == len(NAMES)
    (found,) = [entry for entry in outline.tables if "the table of all is" in entry.caption]
    best, worst = ranking(table)
    assert len({*best, *worst}) == 20
    shown = {*frequent(table), *best, *worst}
    assert {row[1] for row in found.rows[1:]} == shown
    assert found.caption.startswith(f"{len(shown)} of {len(NAMES)} classes")
    for name, label, *figures in found.rows[1:]:
        row = table[label]
        own = commas([row["rows"], row["confirmed"], row["rejected"], row["nobody"]])
        assert (name, figures) == (SHOWN[label], [*own, *shares(row)])
    numbers = [int(row[3].replace(",", "")) for row in found.rows[1:]]
    assert numbers == sorted(numbers, reverse=True)


def test_classes_at_either_end(rows: pd.DataFrame, verdict_page: str, outline: Outline) -> None:
    table = counted(rows, "label")
    drawn = plots(verdict_page)
    for title, labels in zip(("high", "low"), ranking(table), strict=True):
        found = tooltips(drawn[f"Classes of reliably {title} precision"])
        assert [tip.rpartition(": ")[0].partition(": ")[0] for tip in found] == [SHOWN[label] for label in labels]
        beside = [brief(table[label]["verified"]) for label in labels]
        texts = [element.text for element in drawn[f"Classes of reliably {title} precision"].iter("text")]
        assert [text for text in texts if text in beside] == beside
        for tip, label in zip(found, labels, strict=True):
            row = table[label]
            precision, ends = shares(row)
            assert f"{row['confirmed']:,} confirmed, {row['rejected']:,} rejected" in tip
            assert tip.endswith(f"precision {precision} ({ends}) of {row['verified']} verdicts")
    enough = sum(verified >= 30 for verified in of(table, "verified"))
    assert f"{enough} of {len(NAMES)} classes have at least 30 verdicts" in outline.text("verdicts")


def test_grid_of_classes_and_confidences(rows: pd.DataFrame, outline: Outline, verdict_page: str) -> None:
    found = outline.table("Precision of the classes most often confirmed")
    seen = rows[rows.fate.isin(["confirmed", "rejected"])]
    sums = seen.assign(right=seen.fate == "confirmed").groupby(["label", "decile"]).right.agg(["mean", "count"])
    cells: dict[Any, dict[str, float]] = sums.to_dict("index")  # type: ignore[assignment]
    labels, deciles = list(frequent(counted(rows, "label"))), sorted(seen.decile.unique())
    expected = []
    for label in labels:
        own = [cells.get((label, at)) for at in deciles]
        expected.append([SHOWN[label], *(f"{cell['mean']:.2f} {cell['count']}" if cell else UNDEFINED for cell in own)])
    assert found[1:] == expected
    counts = [cell["count"] for (label, _), cell in cells.items() if label in labels]
    coloured = section(verdict_page, "verdicts").count('<td style="--shade:')
    assert coloured == sum(n >= 10 for n in counts)
    assert 0 < coloured < len(counts)


def test_every_row_has_its_fate_and_the_sums_close(rows: pd.DataFrame, verdicts: VerdictRoot, outline: Outline) -> None:
    found = {row[0]: row[1:3] for row in outline.table("Every row of both sides")}
    pairs = [{(row[0], row[2]) for row in side} for side in (verdicts.machine, verdicts.human)]
    both = pairs[0] & pairs[1]
    sides = (verdicts.machine, verdicts.human)
    unmatched = [sum((row[0], row[2]) not in both for row in side) for side in sides]
    duplicate = [sum((row[0], row[2]) in both for row in side) - len(both) for side in sides]
    malformed, narrowed = [len(MALFORMED_MACHINE), len(MALFORMED_HUMAN)], [verdicts.narrowed, 0]
    expected = {"malformed": malformed, "filtered out": narrowed, "unmatched": unmatched, "duplicate": duplicate}
    expected["matched"] = [len(both)] * 2
    assert {name: found[name] for name in expected} == {name: commas(numbers) for name, numbers in expected.items()}
    assert found["= read"] == commas([sum(numbers[side] for numbers in expected.values()) for side in (0, 1)])
    kinds = {"confidence not a number": ["1", "0"], "image id not hex": ["1", "0"], "verdict not clear": ["0", "1"]}
    assert {name: found[name] for name in kinds} == kinds
    made = {row[0]: row[1] for row in outline.table("Human verdicts on the matched labels")[1:]}
    once = rows.drop_duplicates(["image", "label"])
    verdict = [int((once.said == said).sum()) for said in ("1", "0", "01")]
    expected_verdicts = zip(("confirmed", "rejected", "dropped", "= matched"), [*verdict, len(both)], strict=True)
    assert made == {name: f"{n:,}" for name, n in expected_verdicts}
    assert sum(verdict) == len(both)
    assert "Humans differ on 6 labels of them; the rule is --on-conflict=drop" in outline.text("verdicts")


def test_verdicts_by_source(verdicts: VerdictRoot, outline: Outline) -> None:
    counts = Counter((source, said) for _, source, _, said in verdicts.human)
    expected = []
    for source in [*sorted({source for source, _ in counts}), "= all"]:
        own = [sum(n for key, n in counts.items() if key[1] == said and source in ("= all", key[0])) for said in "10"]
        expected.append([source, *commas([*own, sum(own)]), f"{100 * own[0] / sum(own):.1f} %"])
    assert outline.table("Sources of the human verdicts")[1:] == expected
    assert [row[0] for row in expected] == ["crowd & co", "verification", "= all"]


def test_labels_an_image(rows: pd.DataFrame, verdict_page: str, outline: Outline) -> None:
    sure = rows[rows.fate == "confirmed"]
    images = dict(sorted(Counter(Counter(sure.image).values()).items()))
    found = outline.table("Images that have so many labels")
    assert found[0] == ["labels", "confirmed", "human", "machine"]
    assert {int(row[0]): row[1] for row in found[1:] if row[1] != "0"} == {at: f"{n:,}" for at, n in images.items()}
    machine = Counter(Counter(rows[rows.image.isin(sure.image)].drop_duplicates(["image", "label"]).image).values())
    assert {int(row[0]): int(row[3]) for row in found[1:] if row[3] != "0"} == machine
    svg = plots(verdict_page)["Confirmed labels per image"]
    expected = [f"{at} confirmed label{'s' * (at > 1)}: {n} image{'s' * (n > 1)}" for at, n in images.items()]
    assert tooltips(svg) == expected
    drawn = bars(svg, "series-2")
    assert proportional([bottom - top for _, _, top, bottom in drawn], list(images.values()))
    assert [left for left, *_ in drawn] == sorted(left for left, *_ in drawn)


def test_bars_of_label_counts_are_as_long_as_the_counts(rows: pd.DataFrame, verdict_page: str) -> None:
    svg = plots(verdict_page)["Confirmed and rejected labels by class"]
    table = frequent(counted(rows, "label"))
    confirmed, rejected = (bars(svg, colour)[: len(table)] for colour in ("series-2", "series-1"))
    assert proportional([right - left for left, right, *_ in [*confirmed, *rejected]], of(table, *FATES[:2]))
    assert [right for _, right, *_ in confirmed] == [left for left, *_ in rejected]
    assert [top for *_, top, _ in confirmed] == sorted(top for *_, top, _ in confirmed)  # the first class on top
    assert [tip.partition(": ")[0] for tip in tooltips(svg)] == [SHOWN[label] for label in table]


def test_bars_of_the_histogram_are_as_high_as_the_counts(rows: pd.DataFrame, verdict_page: str) -> None:
    svg = plots(verdict_page)["Machine labels by confidence and human verdict"]
    table = counted(rows, "decile")
    n = len(table)
    colours = {"confirmed": "series-2", "rejected": "series-1", "nobody": "series-3", "left_out": "series-4"}
    found = {fate: bars(svg, colour) for fate, colour in colours.items()}
    heights = [bottom - top for fate in FATES for *_, top, bottom in found[fate][:n]]
    assert proportional(heights, of(table, *FATES))
    verified = [bottom - top for fate in FATES[:2] for *_, top, bottom in found[fate][n : 2 * n]]
    assert proportional(verified, of(table, *FATES[:2]))
    for lower, upper in itertools.pairwise(FATES):
        assert [top for *_, top, _ in found[lower][:n]] == [bottom for *_, bottom in found[upper][:n]]
    tips = tooltips(svg)
    assert len(tips) == 2 * n
    for (decile, row), tip in zip(table.items(), tips[:n], strict=True):
        assert tip.startswith(f"Confidence {decile / 10:.1f}")
        words = f"{row['confirmed']} confirmed, {row['rejected']} rejected, {row['nobody']} not reviewed"
        assert f"{row['rows']} machine labels: {words}" in tip


def test_whiskers_stand_at_precision_and_interval(rows: pd.DataFrame, verdict_page: str) -> None:
    svg = plots(verdict_page)["Precision of the machine by its confidence"]
    table = counted(rows, "decile")
    found = []
    for path in svg.iter("path"):
        if path.get("style", "").startswith("fill: none; stroke: var(--series-2)"):
            x, low, other, high = (float(number) for number in re.findall(r"-?[\d.]+", path.get("d", ""))[:4])
            if x == other and low != high:
                found.append((x, low, high))
    found = found[: len(table)]  # the last one is the legend's
    drawn = np.array([height for _, *heights in found for height in heights])
    expected = np.array([end for row in table.values() for end in wilson(row)])
    slope, start = np.polyfit(expected, drawn, 1)
    np.testing.assert_allclose(drawn, slope * expected + start, atol=0.01)
    assert slope < -50  # upwards, and not flat
    assert len({round(right[0] - left[0], 2) for left, right in itertools.pairwise(found)}) == 1
    markers = [use for use in svg.iter("use") if use.get("style", "").startswith("fill: var(--series-2)")]
    for (x, *_), row in zip(found, table.values(), strict=True):
        low, high = wilson(row)
        heights = sorted(float(use.get("y", 0)) for use in markers if abs(float(use.get("x", 0)) - x) < 0.01)
        figures = np.array([high, row["confirmed"] / row["verified"], low])
        np.testing.assert_allclose(heights, slope * figures + start, atol=0.01)  # the dot between two caps
    texts = [element.text for element in svg.iter("text")]
    verdicts_ = [brief(n) for n in of(table, "verified")]
    assert [text for text in texts if text in verdicts_] == verdicts_


def test_plots_say_what_they_show(verdict_page: str) -> None:
    drawn = plots(verdict_page)
    assert len(drawn) == 6
    for title, svg in drawn.items():
        assert svg.get("role") == "img"
        words, more = svg.find("title"), svg.find("desc")
        assert words is not None and more is not None
        assert words.text == title
        assert svg.get("aria-label") == f"{title} {more.text}"
        assert len(more.text or "") > 40


def test_names_are_text_never_markup(verdict_page: str, outline: Outline) -> None:
    assert "alert" not in only_script(verdict_page)
    assert "<i>" not in verdict_page
    assert "much&lt;i&gt;" in verdict_page
    for name in ("<script>alert(2)</script>", "cat & dog", "$5 to $6", NAMES["/m/06"], "Apple (/m/03)"):
        assert any(row[0] == name for row in outline.table("Precision of the classes most often confirmed"))
        assert name in {element.text for svg in plots(verdict_page).values() for element in svg.iter("text")}
    cut = {element.text for svg in plots(verdict_page).values() for element in svg.iter("text")}
    assert f"{NAMES['/m/05'][:29]}…" in cut


def test_dataset_at_which_nobody_looked(verdicts: VerdictRoot) -> None:
    page = page_of(verdicts.root, UNSEEN)
    found = Outline(page)
    assert list_headlines(verdicts.root, UNSEEN) == ["humans reviewed none of the 2 machine labels"]
    assert "Humans reviewed none of the 2 machine labels." in found.text("verdicts")
    assert list(plots(page)) == ["Machine labels by confidence and human verdict"]
    assert found.table("Machine labels by confidence")[2:][0][1:6] == ["1", "0", "0", "1", UNDEFINED]
    assert "By class" not in found.text("verdicts")
    assert "Labels per image" not in found.text("verdicts")
    assert 'id="reviewed"' not in page
    assert 'id="agreement"' not in page


def test_the_classes_nobody_saw_are_counted_and_not_drawn(rows: pd.DataFrame, outline: Outline) -> None:
    table = counted(rows, "label")
    assert table[NEVER_SEEN]["verified"] == 0 < table[NEVER_SEEN]["rows"]
    assert 0 < table[SELDOM]["verified"] < 30
    assert SHOWN[NEVER_SEEN] not in outline.text("verdicts")


def test_one_label_an_image_leaves_the_others_out(tmp_path: Path) -> None:
    made = build(tmp_path, one_label="best", on_conflict="rejected", label_sets="none")
    outline = Outline(page_of(made.root, DATASET))
    said: dict[tuple[str, str], set[str]] = {}
    for image, _, label, verdict in made.human:
        said.setdefault((image, label), set()).add(verdict)
    matched = {(image, label) for image, _, label, _ in made.machine} & said.keys()
    sure = [key for key in matched if said[key] == {"1"}]
    table = {row[0]: row[1] for row in outline.table("Human verdicts on the matched labels")[1:]}
    rejected = len(matched) - len(sure)
    assert table == {"confirmed": f"{len(sure):,}", "rejected": f"{rejected:,}", "= matched": f"{len(matched):,}"}
    others = len(matched) - len({image for image, _ in sure})
    assert f"{others:,} labels of them are not in the label set, which keeps one" in outline.text("verdicts")
    assert "--one-label=best" in outline.text("verdicts")
    assert outline.table("Images that have so many labels")[0] == ["labels", "confirmed"]


def test_the_attested_rows_of_open_images(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "open_images"
    settings = ConfirmSettings(
        dataset="attested",
        machine=(str(folder / "attested_machine_rows_v4.csv"),),
        human=(str(folder / "attested_human_rows_v4.csv"),),
        classes=str(folder / "class-descriptions-boxable.csv"),
    )
    confirm(settings, Context(str(tmp_path)))
    outline = Outline(page_of(str(tmp_path), "attested"))
    assert list_headlines(str(tmp_path), "attested") == [
        "humans confirmed 7 of the 10 machine labels that they reviewed "
        "(precision 0.700, 95 % interval 0.397 to 0.892): 5 images, 6 classes"
    ]
    assert outline.table("Machine labels by confidence")[-1][:4] == ["all", "10", "7", "3"]
    assert "No class has 30 verdicts yet, too few to rank classes by precision." in outline.text("verdicts")
    (found,) = [table.rows for table in outline.tables if "the table of all is" in table.caption]
    assert found[1][:5] == ["Vehicle", "/m/07yv9", "2", "2", "0"]
