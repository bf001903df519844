"""The words of `docs/glossary.md`: what is not to be written, in names, columns, messages and pages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.tables import TABLES
from tests.architecture import ROOT, find_sources

NAMES = re.compile(
    "people|persons?|sure|surer|sureness|truth|luck|blindly|tells?|told|said|speak|ask|asked|found|given|wanted|held|made|"
    "heirs|founders|ceiling|taught|lineage|halves|seals|claims|leftovers|prospect|paces|remedies|mending|halving|looks|"
    "sighted|adoption|foreign|lesson|pictures?|oddities|hinted|placed|spelt|stirred|spared|averaging"
)
NAMES_THAT_STAY = {
    "tell": "a method of Python's file objects",
    "is_held_out": "held-out data is the field's term",
    "held_out": "held-out data is the field's term",
    "HELD_OUT_SEED": "held-out data is the field's term",
}
PHRASES = {  # what is not to be written -> what is
    r"\bpeople\b|\bpersons?\b": "humans, human annotators",
    r"\b(?:how|less|more|most|are|is|was) sure\b|\bsurer\b": "confident",
    r"\btruths?\b": "reference",
    r"\bby luck\b|\bblindly\b": "chance agreement",
    r"\bhow far (?:they|the two|machines) agree\b": "how much they agree",
    r"\b(?:told|tells|speaks?) (?:of|about|to)\b|\bsays so\b": "states, reports",
    r"\b(?:turned|narrowed) away\b|\bleft out of\b": "rejected, filtered out, excluded",
    r"\b(?:row|label)s? an? (?:image|class|pair)\b|\ban image, a class\b": "per image, per class",
    r"\bheirs?\b|\bfounders?\b|\btaught labels?\b|\blineage\b": "students, initial teachers, pseudo-labels",
    r"\bpictures?\b": "image",
    r"\bthe house\b": "repository layout",
}
COLUMNS_THAT_STAY = {("label_errors", "given"): "the term of confident learning (Northcutt et al. 2021)"}
OLD_NAMES = re.compile(r"renamed_from=\(.*?\)")  # read with a warning that names the new ones
PAGES = sorted(
    [
        *(page for page in ROOT.glob("*.md") if page.name != "CHANGELOG.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "analysis/templates").glob("*.j2"),
    ]
)


def names_of(path: Path) -> Iterator[str]:
    """What a file gives a name to."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg


def is_ours(name: str) -> bool:
    """Whether a name has a word that the glossary replaces."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return any(NAMES.fullmatch(word) for word in words)


def prose_of(path: Path) -> str:
    """Comments, docstrings and messages of a file of Python, or the text of a page."""
    text = OLD_NAMES.sub("", (ROOT / path).read_text())
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(token.string for token in tokens if token.type in (tokenize.STRING, tokenize.COMMENT))


@pytest.mark.parametrize("path", find_sources(), ids=str)
def test_names_are_those_of_the_glossary(path: Path) -> None:
    found = {name for name in names_of(path) if is_ours(name) and name not in NAMES_THAT_STAY}
    assert not found


def test_columns_are_named_by_the_glossary() -> None:
    found = {(table.name, name) for table in TABLES.values() for name in table.schema.names if is_ours(name)}
    assert found == COLUMNS_THAT_STAY.keys()


@pytest.mark.parametrize("path", [*find_sources(), *(page.relative_to(ROOT) for page in PAGES)], ids=str)
def test_prose_is_that_of_the_glossary(path: Path) -> None:
    text = prose_of(path)
    found = [
        f"{match[0]!r}: write {better}"
        for phrase, better in PHRASES.items()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]
    assert not found


def test_a_word_is_seen_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('class FoundRows:\n    """Of people."""\n\n    told = f"{1} by luck"  # surer\n')
    assert {name for name in names_of(tmp_path / "a.py") if is_ours(name)} == {"FoundRows", "told"}
    text = prose_of(tmp_path / "a.py")
    assert sum(bool(re.search(phrase, text)) for phrase in PHRASES) == 3
