"""Run a module in a process that writes no file, reaches no network and starts no program.

`python -m storage.confinement MODULE ARGUMENT...`

What the kernel offers is taken before anything else is imported: Landlock (Linux 5.13 and later, where it is switched
on) and a network of the process's own (where it may have one). Python's audit hook comes on top, and is all that there
is elsewhere, beside a limit on the size of files: it stops what goes through Python, but no library in C.
"""

import ctypes
import os
import resource
import runpy
import struct
import sys
import tempfile
from typing import Any

_NEW_NETWORK, _NEW_USER, _NO_NEW_PRIVILEGES = 0x40000000, 0x10000000, 38
# Landlock's system calls have these numbers on every kind of processor; what each version of it can forbid, as bits
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH, _WRITE_FILE = 1, 1, 1 << 1
_CHANGES = [(1, 0x1FF3), (2, 1 << 13), (3, 1 << 14)]  # run; write, remove, make; move; cut off. Reading stays
_CONNECTIONS, _CONNECTIONS_SINCE = 0b11, 4  # bind and connect, TCP
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = {
    *("os.chflags", "os.chmod", "os.chown", "os.link", "os.lockf", "os.mkdir", "os.remove", "os.removexattr"),
    *("os.rename", "os.rmdir", "os.setxattr", "os.symlink", "os.truncate", "os.utime"),
    *("os.exec", "os.fork", "os.forkpty", "os.kill", "os.posix_spawn", "os.spawn", "os.system"),
    *("pty.spawn", "subprocess.Popen"),
    *("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendmsg", "socket.sendto"),
}


def _confine() -> None:
    """Give up for good, in this process and all that it starts, what reading a file does not need."""
    tempfile.gettempdir()  # libraries ask for it when they are imported: it is found by writing to it, and kept
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")  # who uses a GPU writes to its device
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        kernel = ctypes.CDLL(None)
        if kernel.unshare(_NEW_NETWORK):  # without the right to do so, within a user namespace it has it
            kernel.unshare(_NEW_USER | _NEW_NETWORK)
        _landlock(kernel)
    sys.addaudithook(_refuse)


def _landlock(kernel: ctypes.CDLL) -> None:
    """Forbid every change of the file system but writing to /dev/null, and TCP."""
    version = kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION)
    if version < 1:
        return
    changes = sum(bits for since, bits in _CHANGES if version >= since)
    attributes = (
        struct.pack("QQ", changes, _CONNECTIONS) if version >= _CONNECTIONS_SINCE else struct.pack("Q", changes)
    )
    rules = kernel.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    null = os.open(os.devnull, os.O_PATH)
    kernel.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", _WRITE_FILE, null), 0)
    kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    kernel.syscall(_RESTRICT_SELF, rules, 0)


def _refuse(event: str, details: tuple[Any, ...]) -> None:
    """An audit hook, which Python asks before each of these events."""
    writes = event == "open" and isinstance(details[2], int) and details[2] & _WRITING and details[0] != os.devnull
    if writes or event in _REFUSED:
        raise PermissionError(f"{event} is refused while a file from outside is tried")


if __name__ == "__main__":
    _confine()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
