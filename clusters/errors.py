"""The errors of setting up a runner: each fits on one line, and says what to do."""


class ClusterError(Exception):
    """A cluster cannot be had, or what it is built from cannot; the message is complete by itself."""


class MissingToolError(ClusterError):
    """A program that a runner needs is not on this machine, or is too old."""
