"""`python -m pipelines` is the command `concord`."""

from pipelines.cli import entry

if __name__ == "__main__":
    entry()
