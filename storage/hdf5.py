"""HDF5 files from outside: what is read lies in the file itself, and is no larger than the file allows.

HDF5 lets a file refer to others: by external links, virtual datasets and raw data stored elsewhere. Its author could
thereby choose what is read on the machine that opens it, so all three are refused. Links within the file are followed.
On some damaged files the library loops for ever or crashes: `probe` and `probe_datasets` read a file in a process of
its own first.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, Any

import h5py
from h5py import h5a, h5d, h5g, h5i, h5l, h5o, h5z

from schemas.errors import InputError, one_line
from storage import sandbox, stores
from storage.sandbox import MAX_NESTING, SMALL, check_bytes

MAX_CHUNK_BYTES = 256 << 20  # of a chunk, which is unpacked whole
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_HOPS = 16  # soft links on the way to one dataset
_MAX_OBJECTS = 100_000  # inspected in one file
_FILTERS = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_SZIP, h5z.FILTER_LZF)
_MAX_NAMES = 20  # of datasets in a message
_PROBE_SECONDS = 15.0  # for a small file
_PROBE_RATE = 1 << 20  # bytes of a larger file per second, at least
READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OverflowError)


@contextmanager
def open_file(path: str) -> Iterator[h5py.File]:
    """The open file, or an InputError that states what is wrong with it."""
    with stores.open_input(path) as raw:
        _check_driver(path, raw)
        try:  # a local file is read by the library itself, which is faster than through Python
            file = h5py.File(raw if stores.is_remote(path) else path, "r")
        except READ_ERRORS as error:
            raise InputError(f"{path} is not a readable HDF5 file ({one_line(error)}); copy it again") from error
        with file:
            yield file


def _check_driver(path: str, raw: IO[bytes]) -> None:
    """Refuse a file that needs a driver, as only files that are spread over several do.

    The library allocates memory for a driver's information, whatever size that states. The superblock and its offsets
    follow "HDF5 File Format Specification Version 3.0", II.A, versions 0 and 1; later ones have no driver.
    """
    end, at = raw.seek(0, 2), 0
    while at < end:
        raw.seek(at)
        head = raw.read(28 + 4 * 255).ljust(16, b"\xff")
        if head.startswith(_SIGNATURE):
            version, width = head[8], head[13]
            start = 24 + 4 * (version == 1) + 3 * width
            driver = head[start : start + width]
            if version < 2 and driver.strip(b"\xff"):
                raise InputError(f"{path} is spread over several files, or damaged: copy all data into one (h5repack)")
            return
        at = max(512, 2 * at)


@contextmanager
def explain_errors(path: str, what: str) -> Iterator[None]:
    """Turn the library's errors on damaged files into an InputError that states where."""
    try:
        yield
    except READ_ERRORS as error:
        raise InputError(f"{path}: cannot read {what} ({one_line(error)}); copy the file again") from error


def open_dataset(path: str, file: h5py.File, key: str, known: bool = False) -> h5py.Dataset | None:
    """A dataset whose values lie in the file itself; None if there is no dataset of that name.

    Its chunks are not checked if it is `known`, that is, was opened before.

    Raises:
        InputError: it lies in another file, or states a larger size than it can have; the message names it.
    """
    with explain_errors(path, key):
        target = _resolve(path, file, key)
        if not isinstance(target, h5d.DatasetID):
            return None
        check_own(path, key, target, known)
        dataset = h5py.Dataset(target)
        size = min(target.get_storage_size(), file.id.get_filesize())
        check_bytes(path, key, _check_size(path, key, dataset), size)
    return dataset


def _check_chunks(dataset: h5d.DatasetID, creation: Any) -> None:
    """Raise ValueError if a chunk has an impossible size or offset: HDF5 1.14 crashes on chunks of no bytes."""
    size = h5i.get_file_id(dataset).get_filesize()
    unpacked = math.prod(creation.get_chunk()) * dataset.get_type().get_size()
    filters = [creation.get_filter(number)[0] for number in range(creation.get_nfilters())]
    least = (4 * (h5z.FILTER_FLETCHER32 in filters) + 1) if filters else unpacked

    def check(chunk: Any) -> None:
        if not least <= chunk.size <= 2 * unpacked + SMALL or not 0 < chunk.byte_offset <= size - chunk.size:
            raise ValueError(f"chunk {chunk.chunk_offset} has {chunk.size:,} bytes at byte {chunk.byte_offset:,}")

    dataset.chunk_iter(check)


def _resolve(path: str, file: h5py.File, key: str) -> Any:
    """The object that a path leads to, link by link; None if it leads nowhere."""
    target, names, hops = h5g.open(file.id, b"/"), _names(key.encode()), 0
    while names:
        if not isinstance(target, h5g.GroupID) or not target.links.exists(names[0]):
            return None
        name, kind = names[0], target.links.get_info(names[0]).type
        names = names[1:]
        if kind == h5l.TYPE_HARD:
            target = h5o.open(target, name)
            continue
        if kind != h5l.TYPE_SOFT:
            raise InputError(_external_message(path, key))
        hops += 1
        if hops > _MAX_HOPS:
            raise InputError(f"{path}: {key} is a link in a circle: name the dataset itself")
        link = target.links.get_val(name)
        target = h5g.open(file.id, b"/") if link.startswith(b"/") else target
        names = [*_names(link), *names]
    return target


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _external_message(path: str, key: str) -> str:
    return f"{path}: {key} lies in another file, which is not read: copy all data into one file (h5repack)"


def check_own(path: str, key: str, dataset: h5d.DatasetID, known: bool = False) -> None:
    """Check how a dataset stores its values.

    Raises:
        InputError: they lie in other files or datasets, or need a filter that is a plugin or computes with numbers of
            the file.
        ValueError: a chunk is impossible; not checked if it is `known`.
    """
    creation = dataset.get_create_plist()
    layout = creation.get_layout()
    if layout == h5d.VIRTUAL or creation.get_external_count():
        raise InputError(_external_message(path, key))
    for number in range(creation.get_nfilters()):
        code, _, _, name = creation.get_filter(number)
        if code not in _FILTERS:
            label = ascii(name.decode(errors="replace"))[1:-1] or code
            raise InputError(f"{path}: {key} is packed with {label}; pack it with gzip (h5repack -f GZIP=4)")
    if layout == h5d.CHUNKED and not known:
        _check_chunks(dataset, creation)


def _check_size(path: str, key: str, dataset: h5py.Dataset) -> int:
    """Bytes that a dataset, or a chunk of it, states that it has; InputError if a chunk is too large."""
    chunk = 0
    if dataset.chunks:
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        if chunk > MAX_CHUNK_BYTES:
            raise InputError(
                f"{path}: {key} has chunks of {chunk:,} bytes, each of which is read whole, more than "
                f"{MAX_CHUNK_BYTES:,}: write it with smaller ones (h5repack -l CHUNK=...)"
            )
    size = int(math.prod(dataset.shape or ()) * dataset.dtype.itemsize)
    return max(chunk, size) if dataset.id.get_storage_size() else size


def dataset_names(path: str, file: h5py.File) -> list[str]:
    """Names of the first datasets of a file, sorted, for messages."""
    with explain_errors(path, "its groups"):
        objects = iterate_objects(path, file)
        names = list(islice((name for name, target in objects if isinstance(target, h5d.DatasetID)), _MAX_NAMES + 1))
    return [*names[:_MAX_NAMES], "..."] if len(names) > _MAX_NAMES else names


def check_whole(path: str, file: h5py.File) -> None:
    """Raise InputError if an object of a file lies elsewhere, is a link, is nested too deep, or is impossibly large."""
    required = 0
    with explain_errors(path, "it"):
        for name, target in iterate_objects(path, file, links=False):
            required += _attribute_bytes(target)
            if isinstance(target, h5d.DatasetID):
                check_own(path, name, target)
                required += _check_size(path, name, h5py.Dataset(target))
        required += _attribute_bytes(file.id)
        check_bytes(path, "all of it", required, file.id.get_filesize())


def _attribute_bytes(target: Any) -> int:
    """Bytes that the attributes of an object state that they have."""
    attributes = [h5a.open(target, index=number) for number in range(h5a.get_num_attrs(target))]
    return sum(math.prod(one.shape or ()) * one.get_type().get_size() for one in attributes)


def iterate_objects(path: str, file: h5py.File, links: bool = True) -> Iterator[tuple[str, Any]]:
    """Every object below a file's root by its name, once; soft and external links are skipped, or refused."""
    waiting, seen = [("", h5g.open(file.id, b"/"))], set()
    while waiting:
        name, target = waiting.pop()
        number = h5g.get_objinfo(target).objno  # h5o.get_info follows tables, which have no end in damaged files
        if number in seen:
            continue
        seen.add(number)
        if len(seen) > _MAX_OBJECTS or name.count("/") > MAX_NESTING:
            raise InputError(f"{path} has more than {_MAX_OBJECTS:,} objects, or more than {MAX_NESTING} groups in one")
        if name:
            yield name, target
        if not isinstance(target, h5g.GroupID):
            continue
        for inner in sorted(target, reverse=True):
            full = f"{name}/{inner.decode(errors='replace')}".lstrip("/")
            if target.links.get_info(inner).type == h5l.TYPE_HARD:
                waiting.append((full, h5o.open(target, inner)))
            elif not links:
                raise InputError(_external_message(path, full))


# --- Probes in a process of their own ------------------------------------------------------------


def probe(path: str, shown: str) -> None:
    """Check a local file as `check_whole` does, and read its attributes; an InputError calls it `shown`."""
    sandbox.run_module(__name__, [path, shown], shown, _PROBE_SECONDS)


def probe_datasets(path: str, keys: Sequence[str]) -> None:
    """Check datasets of a file as `open_dataset` does, and read first and last rows; InputError if they are damaged.

    A name that does not exist is no error here.
    """
    if stores.stat(path):  # whoever opens it reports best that it is missing
        sandbox.run_module(__name__, [path, path, *keys], path, probe_seconds(path))


def probe_seconds(path: str) -> float:
    """Seconds that reading through a file may take; ten times as many over a network."""
    status = stores.stat(path)
    seconds = _PROBE_SECONDS + (status.size if status else 0) / _PROBE_RATE
    return seconds * (10 if stores.is_remote(path) else 1)


def _run_probe(path: str, shown: str, *keys: str) -> str:
    """Read some datasets of a file, or, if none is named, all of it; for `sandbox.report_answer`."""
    if keys:
        _read_datasets(path, keys)
    else:
        _read_all(path, shown)
    return ""


def _read_datasets(path: str, keys: Sequence[str]) -> None:
    with open_file(path) as file:
        datasets = [open_dataset(path, file, key) for key in keys]
        for dataset in datasets:
            if dataset is not None and dataset.ndim and len(dataset):
                with suppress(*READ_ERRORS):  # whoever reads the rows reports best which are damaged
                    _ = dataset[:1], dataset[-1:]
        if None in datasets:  # then the names of all appear in a message
            dataset_names(path, file)


def _read_all(path: str, shown: str) -> None:
    with explain_errors(shown, "it"), h5py.File(path, "r") as file:
        check_whole(shown, file)
        with explain_errors(shown, "its attributes"):
            for _, target in [("", file.id), *iterate_objects(shown, file)]:
                for number in range(h5a.get_num_attrs(target)):
                    name = h5a.open(target, index=number).name
                    h5py.AttributeManager(_AttributeOwner(target)).get(name)


class _AttributeOwner:
    """What h5py's attributes require of their owner."""

    def __init__(self, target: object) -> None:
        self.id = target


if __name__ == "__main__":
    sandbox.report_answer(_run_probe)
