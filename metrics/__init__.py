"""The numbers: counts that merge exactly, and the figures that follow from them. No Beam, no files.

Labels: `pairing` joins the rows of two annotators, `counts` counts them, `ratings` counts three annotators or more;
`cross_tables` holds the forms that formulas take, and `measures/` the formulas, a file per theme. Confidence:
`calibration` (accuracy by confidence), `coverage` (what can be accepted without human review) and `confidence_counts`,
which counts both. `intervals` are shared; `agreement_tables` and `classification` arrange figures for tables and pages.
"""
