"""`python -m concord` is the command `concord`."""

from concord.cli import entry

if __name__ == "__main__":
    entry()
