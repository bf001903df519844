"""Machines that teach machines: `stage` goes through the generations, `heirs` says who is taught by whom."""
