"""What a worker, its supervisor and the supervisor's shims say to each other.

    worker                              supervisor, on the control socket
             <------   ready            once
      number, a channel      ------>    start a shim
      number                 ------>    kill this shim and its tree: it does not answer

    worker                              shim, on its channel
      run, 1 to 3 descriptors ----->    start a command
             <------   pid, or failed   it runs, or it does not: then the shim is free again
      term, kill             ------>
             <------   exit             the command has ended
             <------   gone             so has its tree, and the shim is free again

The *control socket* are one pair of SOCK_SEQPACKET sockets for the life of both processes; their
end, however it comes about, is the order to kill everything. Each shim has a *channel*, a
pair of its own; its end is the order to kill what runs, and to go. The end of a channel at the
worker's side says that the shim is gone, and with it every process of its tree. Messages are a few
bytes, so that neither side ever waits to send one, but for the command: what is larger than
COMMAND_BYTES_MAX of arguments and environment travels as a file in memory.

Output passes neither the supervisor nor a shim. The worker makes the pipes or the terminal and
passes the child's ends.

This module and all that the supervisor imports use the standard library alone, and little
of it: the supervisor is forked for each shim, and must start fast and stay small.
"""

import array
import os
import socket
from typing import Final

RUN: Final = b"run "  # and a command as of pack(), or nothing: then the last descriptor is its file
TERM: Final = b"term"  # SIGTERM and SIGCONT to every process of the tree
KILL: Final = b"kill"  # SIGKILL, until no process of the tree is left

PID: Final = b"pid"  # " number": the command runs
FAILED: Final = b"failed"  # " kind errno path": it does not
EXIT: Final = b"exit"  # " code signal": the command itself has ended; signal 0 is none
LOST: Final = b"lost"  # the supervisor died; the tree is being killed
GONE: Final = b"gone"  # no process of the tree is left; may follow in the same message as EXIT

NO_DIRECTORY: Final = "directory"
NOT_FOUND: Final = "missing"
NOT_EXECUTABLE: Final = "forbidden"
BROKEN: Final = "setup"

READY: Final = b"ready"  # " kind directory": the control socket' first message
REFUSED: Final = b"refused"  # " sentence": instead of it

WORD_BYTES_MAX: Final = 8192  # one message between the processes
COMMAND_BYTES_MAX: Final = 64 * 1024  # command in a message; a larger one travels as a file
DESCRIPTORS_MAX: Final = 3  # descriptors of a message: two pipes or a terminal, and a file

CGROUP: Final = "cgroup"
SUBREAPER: Final = "subreaper"
AUTO: Final = "auto"

_READ_BYTES: Final = 1 << 20


def tell(channel: socket.socket, word: bytes) -> None:
    """Send a word without waiting; a peer that is gone has no use for it."""
    try:
        channel.send(word, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return  # its end is an event of its own, which the caller watches for


def hear(channel: socket.socket) -> bytes | None:
    """The next word; b"" at the end of the channel, None if there is no word yet."""
    while True:
        try:
            return channel.recv(WORD_BYTES_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # The peer has closed its end before it heard our last word. That is said once, and
            # ahead of the words that the peer has sent: they are still there.
            continue
        except OSError:
            return b""


def receive(channel: socket.socket, size: int) -> tuple[bytes, list[int]] | None:
    """As hear(), with descriptors; socket.recv_fds drops its flags, close-on-exec among them.

    If there is no room for all of them, the kernel has closed the rest.
    """
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS_MAX * descriptors.itemsize)
    try:
        word, parts, _, _ = channel.recvmsg(
            size, room, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        )
    except BlockingIOError:
        return None
    except OSError:
        return b"", []
    for level, type, data in parts:
        assert (level, type) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return word, descriptors.tolist()


def pack(terminal: bool, directory: bytes, argv: list[bytes], environment: list[bytes]) -> bytes:
    """A command as bytes: NUL ends each field, which none of them can contain."""
    head = [b"terminal" if terminal else b"pipe", directory, b"%d" % len(argv)]
    return b"\0".join((*head, *argv, *environment, b""))


def unpack(packed: bytes) -> tuple[bool, bytes, list[bytes], list[bytes]]:
    """What `pack` was given."""
    kind, directory, count, *rest = packed.split(b"\0")[:-1]
    argc = int(count)
    return kind == b"terminal", directory, rest[:argc], rest[argc:]


def read_file(descriptor: int) -> bytes:
    """All that is in a file."""
    blocks: list[bytes] = []
    offset = 0
    while block := os.pread(descriptor, _READ_BYTES, offset):
        blocks.append(block)
        offset += len(block)
    return b"".join(blocks)
