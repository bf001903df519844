"""The report page: `page.py` builds it from the sections beside it, each a file known by its name."""
