"""Arrow batches on their way between workers."""

import pyarrow as pa


def to_ipc(batch: pa.RecordBatch) -> bytes:
    """A batch as Arrow IPC: a slice sent any other way would drag its whole parent along."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def from_ipc(content: bytes) -> pa.Table:
    """The batch that `to_ipc` wrote, as a table."""
    return pa.ipc.open_stream(content).read_all()
