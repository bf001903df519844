"""Machines that teach machines: `driver` goes through the generations, `students` states who learns from whom."""
