"""The messages between a worker, its supervisor and the supervisor's shims.

    worker                              supervisor, on the control socket
             <------   ready            once
      shim N, a channel      ------>    start the shim with this number
      kill N                 ------>    kill this shim and its tree: it does not answer
      until N AT ...         ------>    kill this shim and its tree at this time (deadlines.py)
      ping N                 ------>    say that the orders before are executed
             <------   pong N           they are

    worker                              shim, on its channel
      run N, 1 to 3 descriptors --->    start the command with this number
             <------   pid N, failed N  it runs, or it does not: then the shim is idle again
      term N, kill N         ------>    signal every process of the tree
             <------   exit N           the command has ended
             <------   gone N           its tree has ended too, and the shim is idle again

Each message names the shim or the command that it is about by a number, and no number is used
twice on a socket. A message about another command than the present one is void, for either side:
a shim runs one command after the other, and an answer about the last command must not be taken
for one about the next. A shim that could not be started is told as `failed` with the number
NO_COMMAND.

The *control socket* is one pair of SOCK_SEQPACKET sockets for the life of both processes. Its end,
for any reason, orders the supervisor to kill every tree. Each shim has a *channel*, a pair of its
own. The end of a channel at the shim's side orders the shim to kill the tree and to exit; at the
worker's side it says that the shim and every process of its tree are gone. Messages are a few
bytes long, so neither side ever waits to send one. The exception is the command: arguments and an
environment above COMMAND_BYTES_MAX travel in a memory file.

Output passes through neither the supervisor nor a shim. The worker creates the pipes or the
terminal and passes the child's ends.

This module and every import of the supervisor use the standard library alone, and little of it:
the supervisor is forked for each shim, and must start fast and stay small.
"""

import array
import os
import socket
from typing import Final

SHIM: Final = b"shim"  # start a shim

# Pairs of a shim's number and a time in milliseconds follow; the time 0 is none.
UNTIL: Final = b"until"
PING: Final = b"ping"
PONG: Final = b"pong"

# The number of descriptors and pack()'s bytes follow. No bytes: the last descriptor is their file.
RUN: Final = b"run"
TERM: Final = b"term"  # SIGTERM and SIGCONT to every process of the tree
KILL: Final = b"kill"  # SIGKILL, until no process of the tree is left

PID: Final = b"pid"  # " id": the command runs
FAILED: Final = b"failed"  # " kind errno path": the command was not started
EXIT: Final = b"exit"  # " code signal": the command itself has ended; signal 0 is none
LOST: Final = b"lost"  # the supervisor died; the tree is being killed
GONE: Final = b"gone"  # no process of the tree is left; may follow in the same message as EXIT
NO_COMMAND: Final = 0  # commands have numbers from 1

NO_DIRECTORY: Final = "directory"
NOT_FOUND: Final = "missing"
NOT_EXECUTABLE: Final = "forbidden"
BROKEN: Final = "setup"

READY: Final = b"ready"  # " kind directory": the first message on the control socket
REFUSED: Final = b"refused"  # " sentence": instead of READY

MESSAGE_BYTES_MAX: Final = 8192  # one message between the processes
COMMAND_BYTES_MAX: Final = 64 * 1024  # command in a message; a larger one travels as a file
RUN_BYTES_MAX: Final = 64 + COMMAND_BYTES_MAX  # a RUN message: a command and its numbers
DESCRIPTORS_MAX: Final = 3  # descriptors of a message: two pipes or a terminal, and a file

CGROUP: Final = "cgroup"
SUBREAPER: Final = "subreaper"
AUTO: Final = "auto"

_READ_BYTES: Final = 1 << 20


def send(channel: socket.socket, message: bytes) -> None:
    """Sends a message without waiting; drops it if the peer is gone."""
    try:
        channel.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return  # the end of the channel is an event of its own, which the caller watches for


def receive(channel: socket.socket) -> bytes | None:
    """The next message; b"" at the end of the channel, None if no message has arrived yet."""
    while True:
        try:
            return channel.recv(MESSAGE_BYTES_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # The peer closed its end before it read our last message. The kernel reports that
            # once, ahead of the messages that the peer has sent, which are still there.
            continue
        except OSError:
            return b""


def receive_with_descriptors(channel: socket.socket, size: int) -> tuple[bytes, list[int]] | None:
    """As receive(), with descriptors, which close on exec.

    socket.recv_fds does not pass its flags on, MSG_CMSG_CLOEXEC among them. If this process has no
    room for all descriptors, the kernel has closed the rest.
    """
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS_MAX * descriptors.itemsize)
    try:
        message, parts, _, _ = channel.recvmsg(
            size, room, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        )
    except BlockingIOError:
        return None
    except OSError:
        return b"", []
    for level, type, data in parts:
        assert (level, type) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, descriptors.tolist()


def failed(number: int, kind: str, code: int, path: bytes) -> bytes:
    """The message that a command was not started; `kind` is a constant as NOT_FOUND."""
    return b"%b %d %b %d %b" % (FAILED, number, kind.encode(), code, path)


def pack(terminal: bool, directory: bytes, argv: list[bytes], environment: list[bytes]) -> bytes:
    """A command as bytes; NUL, which no field can contain, ends each field."""
    head = [b"terminal" if terminal else b"pipe", directory, b"%d" % len(argv)]
    return b"\0".join((*head, *argv, *environment, b""))


def unpack(packed: bytes) -> tuple[bool, bytes, list[bytes], list[bytes]]:
    """The arguments of pack()."""
    kind, directory, count, *rest = packed.split(b"\0")[:-1]
    argc = int(count)
    return kind == b"terminal", directory, rest[:argc], rest[argc:]


def read_file(descriptor: int) -> bytes:
    """The whole content of a file."""
    blocks: list[bytes] = []
    offset = 0
    while block := os.pread(descriptor, _READ_BYTES, offset):
        blocks.append(block)
        offset += len(block)
    return b"".join(blocks)
