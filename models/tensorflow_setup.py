"""TensorFlow and Keras for every process of ours: no start-up log, one thread per operation, memory as it is needed.

The start-up log goes to the file descriptor, before any logger exists.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"  # TensorFlow's own switch: take GPU memory as it is needed, unless it is "false"


@contextlib.contextmanager
def _suppress_stderr() -> Iterator[None]:
    sys.stderr.flush()
    stderr = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


with _suppress_stderr():
    import tensorflow  # isort: skip
    import keras

tensorflow.get_logger().setLevel("ERROR")
# listing the devices prints as well; on a GPU it must not take all memory at once
with _suppress_stderr():
    for _device in tensorflow.config.list_physical_devices("GPU"):
        tensorflow.config.experimental.set_memory_growth(_device, os.environ.get(GROWTH, "true") != "false")

# The parallel work is Beam's: its workers share the cores, and results must not depend on how many there are. Training,
# which has a process of its own, sets its own number.
tensorflow.config.threading.set_intra_op_parallelism_threads(1)

__all__ = ["keras", "tensorflow"]
