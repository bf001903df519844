"""What every file of Concord holds, and how it is named, written and found again.

This package imports none of the others, and neither Beam nor TensorFlow.
"""

__version__ = "0.1.0"
