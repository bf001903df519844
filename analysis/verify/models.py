"""Check model folders: each file that `model.json` speaks of, by its size and SHA-256."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.verify.claims import Claim
from analysis.verify.findings import Finding, again
from schemas import layout
from schemas.errors import ConcordError
from storage import model_cards, stores

_PIECE = 8 << 20  # read at a time
_BESIDE = (model_cards.CARD_FILE, "validation.npz", layout.SWEEP_TABLE)
_LOGS = "logs/"


def check_file(root: str, path: str, card: str, stated: Mapping[str, Any], command: str) -> list[Finding]:
    """Check one file of a model that is there.

    Args:
        root: local, `gs://` or `s3://`.
        path: of the file, under the root.
        card: path of `model.json`, under the root.
        stated: `size` and `sha256` that the card says.
        command: that makes the model.
    """
    digest, size = hashlib.sha256(), 0
    remedy = again(command, card)
    try:
        with stores.open_input(stores.join(root, path)) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
    except (ConcordError, OSError) as error:
        return [Finding(path, f"cannot be read ({error})", remedy)]
    if size != stated["size"]:
        return [Finding(path, f"has {size:,} bytes, and {model_cards.CARD_FILE} says {stated['size']:,}", remedy)]
    if digest.hexdigest() != stated["sha256"]:
        return [Finding(path, f"was altered: its SHA-256 is not the one of {model_cards.CARD_FILE}", remedy)]
    return []


def command(card: Mapping[str, Any]) -> str:
    """The command that makes a model."""
    return "concord label --model-file" if "foreign" in card else "concord train"


def of_card(path: str, card: Mapping[str, Any]) -> Iterator[Claim]:
    """The table of a sweep, if the model is the best of one."""
    if "sweep" in card:
        names = (layout.SWEEP_TABLE,)
        yield Claim("sweep", stores.parent(path), names, path, card["fingerprint"], command(card))


def is_beside(name: str) -> bool:
    """Whether a training leaves a file of this name, within the model's folder, that no card speaks of."""
    return name in _BESIDE or name.startswith(_LOGS)
