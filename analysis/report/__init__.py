"""The report page: `page` builds it from the sections beside it, each a file found by its name.

A section has `TITLE`, `ORDER` and `build_section`; see `page`. `formatting` and `plots` are shared by all sections.
"""
