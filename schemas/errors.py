"""The errors that Concord shows to its users: each names what is wrong, where, and the cure."""


class ConcordError(Exception):
    """Something that a user can mend; the message is complete by itself and fits on one line."""


class InputError(ConcordError):
    """An input file, a setting or a flag is not what it has to be."""


class StorageError(ConcordError):
    """A file could not be read or written where it should lie."""


class IncompleteError(ConcordError):
    """A product that a stage reads is missing, unfinished or made of shards that do not belong together."""


class TooManyRejectsError(ConcordError):
    """More records were rejected than the stage allows."""
