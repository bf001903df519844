"""Networks that teach networks, generation by generation: their accuracy, and what it cost against human labels."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from analysis.report.formatting import count, decimal, interval
from analysis.report.plots import FAINT, FIRST, INK, SECOND, Tooltips, add_error_bars, add_grid, add_legend, plot
from analysis.tables import Row, Sources, Study
from schemas.tables import EVERYTHING, GENERATION, LABELLED_SHARE

TITLE, ORDER, LEAD = "Do machines teach machines?", 30, True
BASELINES = {EVERYTHING: "human labels, all images", LABELLED_SHARE: "human labels, the initial share"}

_SIZE = (4.4, 3.6)  # inches
_LINES = ((SECOND, "o", "-"), (FIRST, "s", "--"), (INK, "^", "-."), (FAINT, "D", ":"))  # not by colour alone
_SHIFT = 0.05  # of a generation, so that the intervals of different thresholds do not hide each other


def build_section(sources: Sources) -> Row | None:
    """The plot of each study, and a line for each generation and confidence threshold."""
    entries = [build_entry(study) for study in sources.studies]
    return {"entries": entries} if entries else None


def build_entry(study: Study) -> Row:
    """What to show of a study."""
    return {
        "name": study.name,
        "plot": plot_accuracy(study),
        "seeds": len({row["seed"] for row in study.rows} - {None}),
        "rows": [{**row, "title": _title_of(row) + _remark_on(row)} for row in average_over_seeds(study)],
    }


def list_headlines(sources: Sources) -> list[str]:
    """The accuracy of the last generation of each study."""
    return [headline(study) for study in sources.studies]


def headline(study: Study) -> str:
    """The accuracy of the last generation, in a line."""
    means = average_over_seeds(study)
    students = [row for row in means if row["kind"] == GENERATION and row["accuracy"] is not None]
    last = max(row["generation"] for row in students)
    parts = [f"{decimal(row['accuracy'])} ({_teacher_of(row)})" for row in students if row["generation"] == last]
    baseline = decimal(next(row for row in means if row["kind"] == EVERYTHING)["accuracy"])
    return f"{study.name}, generation {last}: accuracy {', '.join(parts)}; trained on all human labels {baseline}"


def average_over_seeds(study: Study) -> list[Row]:
    """A row for all seeds of each generation and threshold; for one seed its own row, which has an interval."""
    single = {_key_of(row): row for row in study.rows if row["seed"] is not None}
    means = [row for row in study.rows if row["seed"] is None]
    seeds = [sum(_key_of(one) == _key_of(row) and one["seed"] is not None for one in study.rows) for row in means]
    return [single[_key_of(row)] if n == 1 else row for row, n in zip(means, seeds, strict=True)]


def _key_of(row: Row) -> tuple[Any, ...]:
    return row["kind"], row["generation"], row["cut"]


def _title_of(row: Row) -> str:
    if row["kind"] != GENERATION:
        return BASELINES[row["kind"]]
    return f"generation {row['generation']}, {_teacher_of(row)}"


def _remark_on(row: Row) -> str:
    """What is to be known of a row that has figures all the same, such as how many seeds it lacks."""
    return f" ({row['note']})" if row["note"] and row["accuracy"] is not None else ""


def _teacher_of(row: Row) -> str:
    return "human labels" if row["cut"] is None else f"threshold {row['cut']:g}"


def _describe(row: Row) -> str:
    """A row in words, with all that the plot shows of it."""
    if row["accuracy"] is None:
        return f"{_title_of(row)}: {row['note']}"
    around = "" if row["accuracy_low"] is None else f" ({interval(row['accuracy_low'], row['accuracy_high'])})"
    return f"{_title_of(row)}: {decimal(row['accuracy'])}{around} from {count(round(row['n_labels']))} labels"


def plot_accuracy(study: Study) -> Markup:
    """The accuracy of each generation, one line per threshold, beside that of human labels; with 95 % intervals."""
    means = average_over_seeds(study)
    known = [row for row in means if row["accuracy"] is not None]
    initial = [row for row in known if row["generation"] == 0]
    thresholds = sorted({row["cut"] for row in known if row["cut"] is not None})

    def paint(figure: Any, tooltips: Tooltips) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        for row in known:
            if row["kind"] != GENERATION:
                line = "-" if row["kind"] == EVERYTHING else ":"
                label = f"{BASELINES[row['kind']]}: {decimal(row['accuracy'])}"
                shape = axes.axhline(row["accuracy"], color=INK, linestyle=line, linewidth=1, label=label)
                tooltips.put(shape, _describe(row))
        for number, threshold in enumerate(thresholds):
            rows = [*initial, *(row for row in known if row["cut"] == threshold)]
            shift = (number - (len(thresholds) - 1) / 2) * _SHIFT
            at = [row["generation"] + shift * bool(row["generation"]) for row in rows]
            _draw_line(axes, tooltips, rows, number, at)
        axes.set(xlabel="generation (0: trained on human labels)", ylabel="accuracy against human labels")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_grid(axes, "y")
        add_legend(figure)

    title = f"{study.name}: accuracy of each generation against human labels"
    return plot(f"generations-{study.name}", _SIZE, paint, title, "; ".join(map(_describe, means)) + ".")


def _draw_line(axes: Any, tooltips: Tooltips, rows: Sequence[Row], number: int, at: Sequence[float]) -> None:
    """One line of students, each with its interval where it is known."""
    colour, marker, line = _LINES[number % len(_LINES)]
    label = f"labels of confidence {rows[-1]['cut']:g} or more" if rows[-1]["cut"] else "all labels"
    accuracies = [row["accuracy"] for row in rows]
    axes.plot(at, accuracies, line, color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=label)
    for x, row in zip(at, rows, strict=True):
        if row["accuracy_low"] is not None:
            bars = {"fmt": "none", "ecolor": colour, "elinewidth": 1.2, "capsize": 2.5}
            add_error_bars(axes, [x], [row], "accuracy", **bars)
        [point] = axes.plot([x], [row["accuracy"]], marker, color=colour, markersize=4.5)
        tooltips.put(point, _describe(row))
