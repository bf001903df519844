"""Arrow batches on their way between workers."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def to_ipc(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    """A batch as Arrow IPC, perhaps compressed: a slice sent any other way would drag its whole parent along."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def from_ipc(content: bytes) -> pa.Table:
    """The batch that `to_ipc` wrote, as a table."""
    return pa.ipc.open_stream(content).read_all()


def only_used(codes: npt.NDArray[np.int32], names: pa.Array) -> pa.Array:
    """Labels with a dictionary of just those that occur."""
    used = np.bincount(codes, minlength=len(names)) > 0
    numbers = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return pa.DictionaryArray.from_arrays(pa.array(numbers[codes]), names.filter(pa.array(used)))
