"""The queue as a table for a spreadsheet, `queue.csv`, with its images in `images/`.

Beside the queue's own columns it has the label and the confidence of each machine.
"""

import csv
import io

from analysis.exports import Queue
from storage import stores

IMAGE_FOLDER = "images"
_COLUMNS = ("rank", "image_id", "split", "reason", "score", "label", "majority", "reference")


def write(queue: Queue) -> None:
    """Write the file; what is not known is empty."""
    machines = queue.settings.annotators
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    columns = [f"{name}_{part}" for name in machines for part in ("label", "confidence")]
    writer.writerow([*_COLUMNS, *columns, "image_file"])
    for row in queue.rows:
        answers = {one["annotator"]: one for one in row["answers"]}
        labels = [answers.get(name, {}).get(part) for name in machines for part in ("label", "confidence")]
        plain = [row[column] for column in _COLUMNS]
        writer.writerow([*plain, *labels, f"{IMAGE_FOLDER}/{queue.image_files[row['image_id']]}"])
    stores.write_bytes(stores.join(queue.folder, "queue.csv"), text.getvalue().encode())
