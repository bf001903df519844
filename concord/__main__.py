"""The command `concord`, also as `python -m concord`: our own packages first, then the command line."""

import sys

import concord


def main() -> None:
    """Run the command; one line states which folder hides our packages, if any does."""
    concord.put_packages_first()
    hidden = concord.find_hidden_package()
    if hidden:
        print(f"concord: {hidden}", file=sys.stderr)
        sys.exit(1)
    from concord.cli import entry

    entry()


if __name__ == "__main__":
    main()
