"""`concord query` on the command line: what it prints, where, and its one-line errors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from analysis import row_writers
from concord import cli
from concord.verbs.query import QueryFlags


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    cli.main(["query", *arguments])
    out, err = capsys.readouterr()
    return out, err


def test_rows_go_to_the_output_and_remarks_beside_it(query_root: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(capsys, "SELECT annotator_a AS a, annotator_b AS b FROM summary ORDER BY ALL", "--root", query_root)
    assert out.splitlines() == ["a     b", "----  -----", "cnn1  cnn2", "cnn1  human", "cnn2  human"]
    assert err == ""
    out, err = told(capsys, "SELECT annotator_a FROM summary", "--root", query_root, "--format", "json", "--limit", "2")
    assert len(json.loads(out)) == 2
    assert err == "only the first 2 rows are shown: --limit N shows more, --limit 0 all\n"


def test_tables_are_listed_without_a_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(capsys, "--tables", "--root", str(tmp_path / "absent"))
    assert "labels: a row is" in out and "    cohen_kappa" in out and "disagreements: a row is" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), 'needs SQL, such as "select * from summary", or --tables'),
        (("select", "1"), "unexpected argument '1'; put the SQL in quotes"),
        (("select 1", "--runner=DirectRunner"), "unknown flag --runner; see concord query --help"),
        (
            ("from labls",),
            "there is no table 'labls': did you mean labels or label_errors or",
        ),
        (("from labels", "--root", "/absent"), "there is nothing in /absent"),
    ],
)
def test_a_wrong_command_fails_with_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["query", *arguments])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"concord query: {said}")


def test_every_format_can_be_stated() -> None:
    assert tuple(row_writers.FORMS) == get_args(QueryFlags.model_fields["format"].annotation)


def test_it_starts_neither_beam_nor_tensorflow_and_a_closed_pipe_is_no_error(query_root: str) -> None:
    program = f"""
import sys
from concord.cli import main
main(["query", "FROM labels", "--root", {query_root!r}, "--format", "csv"])
print([name for name in ("apache_beam", "tensorflow", "keras") if name in sys.modules], file=sys.stderr)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("image_id,label")
        process.stdout.close()
        assert process.stderr.read() == "[]\n"
        assert process.wait(60) == 0
