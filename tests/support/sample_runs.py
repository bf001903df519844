"""The samples' own run files, made small, and what their chains write."""

from pathlib import Path

from storage import parquet, stores

RUNS = Path(__file__).resolve().parents[2] / "samples"
SMALLER = {  # text of each run file -> what makes it small
    "house_numbers.toml": {
        "6000": "320",
        "1000": "80",
        "2000": "160",
        "epochs = 12": "epochs = 1",
        "epochs = 16": "epochs = 1",
    },
    "scenes.toml": {"1200": "100", '"open_images"': '"open_images"\nmax_reject_fraction = 0.1'},
}


def write_small_runs(folder: Path) -> list[str]:
    """Write the samples' run files, made small, and return their paths."""
    paths = []
    for name, changes in SMALLER.items():
        text = (RUNS / name).read_text()
        for old, new in changes.items():
            assert old in text, f"{name} has no {old!r}"
            text = text.replace(old, new)
        path = folder / name
        path.write_text(text)
        paths.append(str(path))
    return paths


def table_rows(root: str) -> dict[str, list[dict[str, object]]]:
    """The rows of every table of a root, by the place of its shard."""
    found = {}
    for path in stores.glob(f"{root}/**/*.parquet"):
        table = [
            {name: _without_root(value, root) for name, value in row.items()} for row in parquet.read(path).to_pylist()
        ]
        found[path.removeprefix(root)] = table
    return found


def _without_root(value: object, root: str) -> object:
    """A value, without where the root lies."""
    return value.replace(root, "ROOT") if isinstance(value, str) else value
