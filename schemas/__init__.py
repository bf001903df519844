"""The contracts that all packages share: what every file contains, its name and place, and what a stage is.

Read `stage` first (what a verb is, and the driver that all verbs share), then `settings/` (a file per verb), `layout`
(every path under a root), `tables` (every column) and `manifests` (what a finished product states). `run_files` reads
chains, `plugins` finds what is added by adding a file, `errors` and `rejects` name what can go wrong. This package
imports none of the others, and neither Beam nor TensorFlow.
"""

__version__ = "0.1.0"
