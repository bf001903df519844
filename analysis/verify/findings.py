"""What a check found: where, what is wrong there, and the remedy."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is missing or altered, or, as a warning, something left over.

    Attributes:
        path: of the file or folder, under the root.
        what: is wrong with it.
        remedy: what to do.
        is_warning: whether nothing is missing or altered by it.
    """

    path: str
    what: str
    remedy: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.what}: {self.remedy}"


def again(command: str, manifest: str, file: str = "") -> str:
    """The remedy that makes just what is wrong anew: without its manifest, a stage keeps whatever else is whole.

    Args:
        command: the verb, with `concord`.
        manifest: path of the product's manifest.
        file: the one that is altered; empty where it is missing.
    """
    both = f"{file.rsplit('/', 1)[-1]} and {manifest}" if file else manifest
    return f"remove {both}, and run {command} again"
