"""What became of networks that networks taught, generation by generation, as the table of a study tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.formatting import count, decimal, interval
from analysis.plots import FAINT, FIRST, INK, SECOND, Tooltips, legend, plot
from schemas import layout
from schemas.tables import EVERYTHING, GENERATION, TAUGHT_SHARE
from storage import parquet, stores

Row = dict[str, Any]
_SIZE = (4.4, 3.6)  # inches
_LINES = ((SECOND, "o", "-"), (FIRST, "s", "--"), (INK, "^", "-."), (FAINT, "D", ":"))  # never told by colour alone
_APART = 0.05  # of a generation, so that the intervals of cuts do not hide each other
REFERENCES = {EVERYTHING: "people, everything", TAUGHT_SHARE: "people, the taught share"}


@dataclass(frozen=True)
class Study:
    """A study, as its table holds it.

    Attributes:
        fingerprint: of all that the table was made from.
        rows: a row a network, and one for the mean over seeds of those that are alike.
    """

    name: str
    fingerprint: str
    rows: tuple[Row, ...]

    @property
    def annotators(self) -> set[str]:
        """The networks of the study."""
        return {row["annotator"] for row in self.rows if row["annotator"]}

    def compares(self, a: str, b: str) -> bool:
        """Whether the study itself compares two annotators: two of its networks, or what one teaches with people."""
        pools = {row["label_set"] for row in self.rows if row["cut"] is not None and row["label_set"]}
        return a in pools or {a, b} <= self.annotators

    @property
    def means(self) -> list[Row]:
        """A row for all seeds of each generation and cut; where there is one seed, that row, which has an interval."""
        alone = {_key(row): row for row in self.rows if row["seed"] is not None}
        found = [row for row in self.rows if row["seed"] is None]
        counted = [sum(_key(one) == _key(row) and one["seed"] is not None for one in self.rows) for row in found]
        return [alone[_key(row)] if seeds == 1 else row for row, seeds in zip(found, counted, strict=True)]

    def headline(self) -> str:
        """How right the last generation is, in a line."""
        shown = [row for row in self.means if row["kind"] == GENERATION and row["accuracy"] is not None]
        last = max(row["generation"] for row in shown)
        parts = [f"{decimal(row['accuracy'])} ({_called(row)})" for row in shown if row["generation"] == last]
        highest = next(row for row in self.means if row["kind"] == EVERYTHING)
        whole = decimal(highest["accuracy"])
        return f"{self.name}, generation {last}: accuracy {', '.join(parts)}; taught everything by people {whole}"


def _key(row: Row) -> tuple[Any, ...]:
    return row["kind"], row["generation"], row["cut"]


def find(root: str, dataset: str) -> tuple[Study, ...]:
    """The studies of a dataset that are whole, by name.

    Raises:
        IncompleteError: a table is damaged.
    """
    folder, start = layout.generations(root), f"{dataset}-"
    found = []
    for file in sorted(stores.list_files(folder)):
        if file.startswith(start) and file.endswith(".parquet"):
            path = stores.join(folder, file)
            rows = parquet.read(path).to_pylist()
            found.append(Study(file[len(start) : -len(".parquet")], parquet.read_tags(path)[0], tuple(rows)))
    return tuple(found)


def of_studies(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """What to show of each study: its plot, and a line for each generation and cut."""
    return [
        {
            "name": study.name,
            "plot": accuracy_by_generation(study),
            "seeds": len({row["seed"] for row in study.rows} - {None}),
            "rows": [{**row, "called": _titled(row) + _but(row)} for row in study.means],
        }
        for study in studies
    ]


def _titled(row: Row) -> str:
    """What a row is of, in words."""
    if row["kind"] != GENERATION:
        return REFERENCES[row["kind"]]
    return f"generation {row['generation']}, {_called(row)}"


def _but(row: Row) -> str:
    """What is to be known of a row that has figures all the same, such as how many seeds it lacks."""
    return f" ({row['note']})" if row["note"] and row["accuracy"] is not None else ""


def _called(row: Row) -> str:
    return "people" if row["cut"] is None else f"cut {row['cut']:g}"


def accuracy_by_generation(study: Study) -> Markup:
    """How right each generation is against people, a line a cut, beside what people taught; with 95 % intervals."""
    known = [row for row in study.means if row["accuracy"] is not None]
    first = [row for row in known if row["generation"] == 0]
    cuts = sorted({row["cut"] for row in known if row["cut"] is not None})

    def paint(figure: Any, tooltips: Tooltips) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        for row in known:
            if row["kind"] != GENERATION:
                line = "-" if row["kind"] == EVERYTHING else ":"
                label = f"{REFERENCES[row['kind']]}: {decimal(row['accuracy'])}"
                tooltips.put(
                    axes.axhline(row["accuracy"], color=INK, linestyle=line, linewidth=1, label=label), _told(row)
                )
        for number, cut in enumerate(cuts):
            rows = [*first, *(row for row in known if row["cut"] == cut)]
            aside = (number - (len(cuts) - 1) / 2) * _APART
            _draw_line(
                axes, tooltips, rows, number, [row["generation"] + aside * bool(row["generation"]) for row in rows]
            )
        axes.set(xlabel="generation (0: taught by people)", ylabel="accuracy against people")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
        legend(figure)

    title = f"{study.name}: how right each generation is against people"
    return plot(f"generations-{study.name}", _SIZE, paint, title, "; ".join(_told(row) for row in study.means) + ".")


def _draw_line(axes: Any, tooltips: Tooltips, rows: Sequence[Row], number: int, places: Sequence[float]) -> None:
    """One line of heirs, each with its interval where it is known."""
    colour, marker, line = _LINES[number % len(_LINES)]
    values = [row["accuracy"] for row in rows]
    label = f"labels at least {rows[-1]['cut']:g} sure" if rows[-1]["cut"] else "all labels"
    axes.plot(places, values, line, color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=label)
    for place, row in zip(places, rows, strict=True):
        if row["accuracy_low"] is not None:
            reach = [[max(row["accuracy"] - row["accuracy_low"], 0)], [max(row["accuracy_high"] - row["accuracy"], 0)]]
            axes.errorbar([place], [row["accuracy"]], reach, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)
        [point] = axes.plot([place], [row["accuracy"]], marker, color=colour, markersize=4.5)
        tooltips.put(point, _told(row))


def _told(row: Row) -> str:
    """A row in words, with all that the plot shows of it."""
    if row["accuracy"] is None:
        return f"{_titled(row)}: {row['note']}"
    around = "" if row["accuracy_low"] is None else f" ({interval(row['accuracy_low'], row['accuracy_high'])})"
    return f"{_titled(row)}: {decimal(row['accuracy'])}{around} from {count(round(row['taught']))} labels"
