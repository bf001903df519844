"""Machines that teach machines: generations of students that learn from pseudo-labels.

`driver` goes through the generations by running other stages, `students` states who learns from whom, `pseudo_labels`
draws the labels that teach, and `results` makes the table of all students and baselines.
"""
