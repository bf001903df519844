"""The report page: `page.py` builds it from the sections beside it, each a file found by its name."""
