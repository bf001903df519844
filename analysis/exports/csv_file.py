"""The queue as a table for a spreadsheet, `queue.csv`, with its pictures in `images/`.

Beside the queue's own columns it has, of each machine, what it said and how sure it was.
"""

import csv
import io

from analysis.exports import Queue
from storage import stores

PICTURES = "images"
_COLUMNS = ("rank", "image_id", "split", "reason", "score", "label", "majority", "reference")


def write(queue: Queue) -> None:
    """Write the file; what is not known is empty."""
    machines = queue.settings.annotators
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    said = [f"{name}_{part}" for name in machines for part in ("label", "confidence")]
    writer.writerow([*_COLUMNS, *said, "picture"])
    for row in queue.rows:
        answers = {one["annotator"]: one for one in row["answers"]}
        found = [answers.get(name, {}).get(part) for name in machines for part in ("label", "confidence")]
        plain = [row[column] for column in _COLUMNS]
        writer.writerow([*plain, *found, f"{PICTURES}/{queue.pictures[row['image_id']]}"])
    stores.write_bytes(stores.join(queue.folder, "queue.csv"), text.getvalue().encode())
