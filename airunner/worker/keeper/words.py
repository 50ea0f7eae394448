"""What a worker and its keeper say to each other.

    worker                              keeper
             <------   ready            once, on the reins
      number, 6 descriptors  ------>    start a job: on the reins
             <------   pid, or failed   on the job's status pipe, which exec closes
             <------   exit, gone       on the job's channel
      term, kill             ------>    on the job's channel

The *reins* are one pair of SOCK_SEQPACKET sockets for the life of both processes; their
end, however it comes about, is the order to kill everything. Each job has a *channel*, a
pair of its own; its end is the order to kill that job. Messages on both are a few bytes, so
that neither side ever waits to send one. What is large, the arguments and the environment,
travels as a file in memory which the keeper itself never opens: the forked child does.

Output does not pass through the keeper at all. The worker makes the pipes or the terminal and
passes the child's ends.

This module and all that the keeper imports use the standard library alone, and little
of it: the keeper is forked for each job, and must start fast and stay small.
"""

import socket
from typing import Final

TERM: Final = b"term"  # SIGTERM and SIGCONT to every process of the tree
KILL: Final = b"kill"  # SIGKILL, until no process of the tree is left
EXIT: Final = b"exit"  # " code signal": the command itself has ended; signal 0 is none
LOST: Final = b"lost"  # the keeper died; the tree is being killed
GONE: Final = b"gone"  # no process of the tree is left

PID: Final = b"pid"  # " number": on the status pipe, right before exec
FAILED: Final = b"failed"  # " kind errno path": on the status pipe, if there was no exec
NO_DIRECTORY: Final = "directory"
NOT_FOUND: Final = "missing"
NOT_EXECUTABLE: Final = "forbidden"
BROKEN: Final = "setup"

READY: Final = b"ready"  # " kind directory": the reins' first message
REFUSED: Final = b"refused"  # " sentence": instead of it

WORD_BYTES_MAX: Final = 8192
DESCRIPTORS: Final = 6  # spec, channel, status, standard input, output and error

CGROUP: Final = "cgroup"
SUBREAPER: Final = "subreaper"
AUTO: Final = "auto"


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


def pack(terminal: bool, directory: bytes, argv: list[bytes], environment: list[bytes]) -> bytes:
    """A command as bytes: NUL ends each field, which none of them can contain."""
    head = [b"terminal" if terminal else b"pipe", directory, b"%d" % len(argv)]
    return b"".join(field + b"\0" for field in (*head, *argv, *environment))


def unpack(packed: bytes) -> tuple[bool, bytes, list[bytes], list[bytes]]:
    """What `pack` was given."""
    kind, directory, count, *rest = packed.split(b"\0")[:-1]
    argc = int(count)
    return kind == b"terminal", directory, rest[:argc], rest[argc:]
