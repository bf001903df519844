"""The command's log, on stderr: a line a message for people, or with `--log-format=json` an object a line for machines.

Objects have `timestamp` (ISO 8601, UTC), `severity` and `message`, names that Cloud Logging reads by itself; `logger`,
`verb` and, once there is one, `run`, the id of the run's manifest. What Concord says has an `event` as well, and what
its message tells as fields of their own:

- `run_started`; `run_done` with `manifest` and `seconds`; `failed`, which is the last one;
- `stage_done` with `stage`, `product`, `seconds`, `counts` and Beam's `counters`; `stage_skipped`, already there;
- `progress` with `stage`, `shards`, `shards_done`, `images_per_second`, `seconds_left`;
- `epoch` with `model` and the training's figures; `note` for all else.
"""

import argparse
import logging
import os
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

FORMATS = ("text", "json")
VARIABLE = "CONCORD_LOG_FORMAT"
_log = logging.getLogger("concord")


def add(own: argparse.ArgumentParser, verbose: str) -> None:
    """Add the flags of the log to a verb's parser; `verbose` says what that one shows."""
    own.add_argument("--verbose", action="store_true", help=verbose)
    own.add_argument(
        "--log-format",
        choices=FORMATS,
        default=os.environ.get(VARIABLE, "text"),
        help=f"how the log is written: text for people, json for machines (default: {VARIABLE}, or text)",
    )


def set_up(given: argparse.Namespace) -> None:
    """Write the log as the flags of `add` ask."""
    logging.basicConfig(
        level=logging.INFO if given.verbose else logging.CRITICAL, format="%(message)s", stream=sys.stderr, force=True
    )
    machines = given.log_format == "json"
    _log.setLevel(logging.DEBUG if machines else logging.INFO)  # whose details are for machines
    if machines:
        logging.root.handlers[0].setFormatter(
            JsonFormatter(
                "%(levelname)s %(message)s %(name)s",
                rename_fields={"levelname": "severity", "name": "logger", "exc_info": "traceback"},
                static_fields={"verb": given.verb},
                defaults={"event": "note"},
                timestamp=True,
            )
        )
    if not given.verbose:  # Beam logs every worker error with its traceback; what matters of it is raised and shown
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)


def fields(event: str, **values: Any) -> dict[str, Any]:
    """What a message tells, for `extra` of a logging call."""
    return {"event": event, **values}


def name_run(run_id: str) -> None:
    """Say in every object from now on which run it is of."""
    for handler in logging.root.handlers:
        if isinstance(handler.formatter, JsonFormatter):
            handler.formatter.static_fields["run"] = run_id


def for_machines() -> bool:
    """Whether the log is one of objects."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.root.handlers)
