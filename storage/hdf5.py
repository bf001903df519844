"""HDF5 files, wherever they lie: what is read of one stands in the file itself, and is no more than it can hold.

HDF5 lets a file name others: by external links, by virtual datasets, by raw data kept elsewhere. Whoever wrote it would
thereby choose what is read on the machine that opens it, so all three are refused. Links within the file are followed.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import h5py
from h5py import h5a, h5d, h5g, h5i, h5l, h5o, h5z

from schemas.errors import InputError, one_line
from storage import sandbox, stores
from storage.sandbox import MOST_NESTED, SMALL, check_bytes

MOST_CHUNK_BYTES = 256 << 20  # of a chunk, which is unpacked whole
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_HOPS = 16  # soft links on the way to one dataset
_MOST_OBJECTS = 100_000  # that are looked at in one file
_FILTERS = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_SZIP, h5z.FILTER_LZF)
_SHOWN = 20  # names of datasets in a message
TROUBLES = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OverflowError)


@contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    """The file, or an error that says what is wrong with it."""
    with stores.open_input(path) as raw:
        _check_driver(path, raw)
        try:  # a local file is read by the library itself, which is faster than through Python
            file = h5py.File(raw if stores.is_remote(path) else path, "r")
        except TROUBLES as error:
            raise InputError(f"{path} is not a readable HDF5 file ({one_line(error)}); copy it again") from error
        with file:
            yield file


def _check_driver(path: str, raw: IO[bytes]) -> None:
    """Refuse a file that asks for a driver, which only those have that are spread over several files.

    The library sets memory aside for what a driver is told, however much that says it is. The superblock, and where it
    may lie, are those of "HDF5 File Format Specification Version 3.0", II.A, versions 0 and 1; later ones have none.
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
def explained(path: str, what: str) -> Iterator[None]:
    """Turn the library's errors on damaged files into one that says where."""
    try:
        yield
    except TROUBLES as error:
        raise InputError(f"{path}: cannot read {what} ({one_line(error)}); copy the file again") from error


def dataset(path: str, file: h5py.File, key: str, known: bool = False) -> h5py.Dataset | None:
    """A dataset of a file that keeps its own values; None where there is no dataset of that name.

    Args:
        path: of the file.
        file: which is open.
        key: the dataset's name.
        known: whether it was looked at before, so that its chunks need not be.

    Raises:
        InputError: it lies in another file, or says that it holds more than there can be of it; the message names it.
    """
    with explained(path, key):
        place = _find(path, file, key)
        if not isinstance(place, h5d.DatasetID):
            return None
        check_own(path, key, place, known)
        found = h5py.Dataset(place)
        size = min(place.get_storage_size(), file.id.get_filesize())
        check_bytes(path, key, _check_size(path, key, found), size)
    return found


def _check_chunks(place: h5d.DatasetID, how: Any) -> None:
    """Raise ValueError where a chunk cannot be one: HDF5 1.14 breaks down on those of no bytes."""
    size = h5i.get_file_id(place).get_filesize()
    most = math.prod(how.get_chunk()) * place.get_type().get_size()
    filters = [how.get_filter(number)[0] for number in range(how.get_nfilters())]
    least = (4 * (h5z.FILTER_FLETCHER32 in filters) + 1) if filters else most

    def check(chunk: Any) -> None:
        if not least <= chunk.size <= 2 * most + SMALL or not 0 < chunk.byte_offset <= size - chunk.size:
            raise ValueError(f"chunk {chunk.chunk_offset} has {chunk.size:,} bytes at byte {chunk.byte_offset:,}")

    place.chunk_iter(check)


def _find(path: str, file: h5py.File, key: str) -> Any:
    """What a path leads to, link by link; None where it leads nowhere."""
    place, names, hops = h5g.open(file.id, b"/"), _names(key.encode()), 0
    while names:
        if not isinstance(place, h5g.GroupID) or not place.links.exists(names[0]):
            return None
        name, kind = names[0], place.links.get_info(names[0]).type
        names = names[1:]
        if kind == h5l.TYPE_HARD:
            place = h5o.open(place, name)
            continue
        if kind != h5l.TYPE_SOFT:
            raise InputError(_elsewhere(path, key))
        hops += 1
        if hops > _MOST_HOPS:
            raise InputError(f"{path}: {key} is a link in a circle: name the dataset itself")
        target = place.links.get_val(name)
        place = h5g.open(file.id, b"/") if target.startswith(b"/") else place
        names = [*_names(target), *names]
    return place


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _elsewhere(path: str, key: str) -> str:
    return f"{path}: {key} lies in another file, and is not read from there: copy all data into one file (h5repack)"


def check_own(path: str, key: str, place: h5d.DatasetID, known: bool = False) -> None:
    """Check where a dataset keeps its values.

    Raises:
        InputError: in other files, or it is put together from other datasets.
            Or it is packed in a way that needs a plugin, or a filter that computes with numbers of the file.
        ValueError: in chunks, one of which cannot be one; not looked at where that is `known`.
    """
    how = place.get_create_plist()
    layout = how.get_layout()
    if layout == h5d.VIRTUAL or how.get_external_count():
        raise InputError(_elsewhere(path, key))
    for number in range(how.get_nfilters()):
        code, _, _, name = how.get_filter(number)
        if code not in _FILTERS:
            shown = ascii(name.decode(errors="replace"))[1:-1] or code
            raise InputError(f"{path}: {key} is packed with {shown}; pack it with gzip (h5repack -f GZIP=4)")
    if layout == h5d.CHUNKED and not known:
        _check_chunks(place, how)


def _check_size(path: str, key: str, found: h5py.Dataset) -> int:
    """How many bytes a dataset, or a chunk of it, says that it has; InputError where a chunk is too large."""
    chunk = 0
    if found.chunks:
        chunk = math.prod(found.chunks) * found.dtype.itemsize
        if chunk > MOST_CHUNK_BYTES:
            raise InputError(
                f"{path}: {key} has chunks of {chunk:,} bytes, each of which is read whole, and may have "
                f"{MOST_CHUNK_BYTES:,}: write it with smaller ones (h5repack -l CHUNK=...)"
            )
    size = int(math.prod(found.shape or ()) * found.dtype.itemsize)
    return max(chunk, size) if found.id.get_storage_size() else size


def dataset_names(path: str, file: h5py.File) -> list[str]:
    """Names of the first datasets of a file, in the order of their names, for people to choose from."""
    with explained(path, "its groups"):
        found: list[str] = []
        for name, place in objects(path, file):
            if isinstance(place, h5d.DatasetID):
                found.append(name)
            if len(found) > _SHOWN:
                return [*found[:_SHOWN], "..."]
    return found


def check_whole(path: str, file: h5py.File) -> None:
    """Check every dataset of a file that a library reads in its own way.

    Raises:
        InputError: something in it lies elsewhere, is a link, is nested too deep, or says that it is too large.
    """
    asked = 0
    with explained(path, "it"):
        for name, place in objects(path, file, links=False):
            asked += _attributes(place)
            if isinstance(place, h5d.DatasetID):
                check_own(path, name, place)
                asked += _check_size(path, name, h5py.Dataset(place))
        asked += _attributes(file.id)
        check_bytes(path, "all of it", asked, file.id.get_filesize())


def _attributes(place: Any) -> int:
    """How many bytes the attributes of an object say that they have."""
    found = [h5a.open(place, index=number) for number in range(h5a.get_num_attrs(place))]
    return sum(math.prod(one.shape or ()) * one.get_type().get_size() for one in found)


def objects(path: str, file: h5py.File, links: bool = True) -> Iterator[tuple[str, Any]]:
    """Every object below a file's root by its name, once; soft and external links are left, or refused."""
    waiting, seen = [("", h5g.open(file.id, b"/"))], set()
    while waiting:
        name, place = waiting.pop()
        where = h5g.get_objinfo(place).objno  # h5o.get_info walks through tables, of which damaged ones have no end
        if where in seen:
            continue
        seen.add(where)
        if len(seen) > _MOST_OBJECTS or name.count("/") > MOST_NESTED:
            raise InputError(
                f"{path} has more than {_MOST_OBJECTS:,} objects, or more than {MOST_NESTED} groups in one"
            )
        if name:
            yield name, place
        if not isinstance(place, h5g.GroupID):
            continue
        for inner in sorted(place, reverse=True):
            full = f"{name}/{inner.decode(errors='replace')}".lstrip("/")
            if place.links.get_info(inner).type == h5l.TYPE_HARD:
                waiting.append((full, h5o.open(place, inner)))
            elif not links:
                raise InputError(_elsewhere(path, full))


# Look through an HDF5 file in a process of its own: on some damaged ones, the library loops for ever, or breaks down.

SECONDS = 15.0  # that looking through a small file may take
_RATE = 1 << 20  # bytes of a larger one in a second, at least
_ALL, _SOME = "all", "some"  # what to look at


def probe(path: str, shown: str) -> None:
    """Check a local file as `hdf5.check_whole` does, and read every attribute of it.

    Raises:
        InputError: it is damaged, or something in it lies elsewhere or is too large.
    """
    sandbox.run_module(__name__, [path, shown, _ALL], shown, SECONDS)


def probe_datasets(path: str, keys: Sequence[str]) -> None:
    """Check some datasets of a file as `hdf5.dataset` does, and read their first and last rows.

    A name that is not there is no trouble here.

    Raises:
        InputError: it is damaged, or one lies elsewhere or is too large.
    """
    if stores.stat(path):  # whoever opens it says best that it is missing
        sandbox.run_module(__name__, [path, path, _SOME, *keys], path, probe_seconds(path))


def probe_seconds(path: str) -> float:
    """Seconds that looking through a file may take; ten times as many where it comes through a network."""
    found = stores.stat(path)
    return (SECONDS + (found.size if found else 0) / _RATE) * (10 if stores.is_remote(path) else 1)


def _look(path: str, shown: str, what: str, *keys: str) -> str:
    if what == _ALL:
        _look_at_all(path, shown)
    else:
        _look_at_some(path, keys)
    return ""


def _look_at_some(path: str, keys: Sequence[str]) -> None:
    with opened(path) as file:
        missing = False
        for key in keys:
            found = dataset(path, file, key)
            missing |= found is None
            if found is not None and found.ndim and len(found):
                with suppress(*TROUBLES):  # whoever reads the rows says best which they are
                    _ = found[:1], found[-1:]
        if missing:  # then the names of all are shown
            dataset_names(path, file)


def _look_at_all(path: str, shown: str) -> None:
    with explained(shown, "it"), h5py.File(path, "r") as file:
        check_whole(shown, file)
        with explained(shown, "its attributes"):
            for _, place in [("", file.id), *objects(shown, file)]:
                for number in range(h5py.h5a.get_num_attrs(place)):
                    name = h5py.h5a.open(place, index=number).name
                    h5py.AttributeManager(_Holder(place)).get(name)


class _Holder:
    """What h5py's attributes want of their owner."""

    def __init__(self, place: object) -> None:
        self.id = place


if __name__ == "__main__":
    sandbox.report_answer(_look)
