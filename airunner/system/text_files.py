"""Text from files of other systems: byte order marks, UTF-16 and carriage returns.

An editor on another system may begin a file with a byte order mark (U+FEFF), end its lines with CR LF,
or write UTF-16. A shell takes a mark for part of the first command, and a carriage return for part of
the last argument of each line: `set -e` with a carriage return is an error, and has no effect. So the
mark and the carriage return before each newline are removed wherever a shell or a parser reads the
text. UTF-16 is refused with its name, since its bytes in a pipe are seldom meant.
"""

from pathlib import Path
from typing import Final

from airunner.model.limits import MIB

FILE_BYTES_MAX: Final = MIB  # a key, a certificate, a token or a file of settings
_MARK: Final = "\ufeff"
_UTF_32_MARKS: Final = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT: Final = 64  # bytes in which UTF-16 without a mark shows: every second byte is NUL


def read_file(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """The bytes of a file. Raises OSError, or ValueError with the end of a sentence.

    A device such as /dev/zero has no end, so no more than the limit is read.
    """
    with path.open("rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise ValueError(f"is larger than {bytes_max} bytes")
    return data


def decode_text(data: bytes | bytearray) -> str:
    """The text of UTF-8 bytes, without a byte order mark.

    Raises ValueError with the end of a sentence, such as "is UTF-16 text: save it as UTF-8".
    """
    if encoding := _wide_encoding(data):
        raise ValueError(f"is {encoding} text: save it as UTF-8")
    try:
        return data.decode().removeprefix(_MARK)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text at byte {error.start + 1}") from None


def shell_text(text: str) -> str:
    """The text as a shell reads it: without a byte order mark, and with newlines for CR LF."""
    return text.removeprefix(_MARK).replace("\r\n", "\n")


def _wide_encoding(data: bytes | bytearray) -> str:
    """The name of an encoding with two or four bytes for each character; "" for any other."""
    if data.startswith(_UTF_32_MARKS):
        return "UTF-32"
    begin = data[: min(_LOOKED_AT, len(data) - len(data) % 2)]
    halves = begin[::2], begin[1::2]
    if data.startswith(_UTF_16_MARKS) or (len(begin) > 2 and _is_ascii_beside_nul(*halves)):
        return "UTF-16"
    return ""


def _is_ascii_beside_nul(first: bytes | bytearray, second: bytes | bytearray) -> bool:
    one, other = (first, second) if b"\0" not in first else (second, first)
    return not other.strip(b"\0") and one.isascii() and b"\0" not in one
