"""What each of Beam's runners needs beside the flags of the user: a file per runner.

`dataflow` completes and watches jobs on Google's service, whose workers install what `worker_package` builds; `flex` is
its flex template. `portable` serves Flink and Prism, whose Python workers `worker` starts.
"""
