"""The descriptors contain the published contract: every message, number, value and method."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from airunner.wire.job.v1 import job_pb2 as pb
from tests.promises import holds, promise

PUBLISHED = Path(__file__).with_name("published.txt")
TYPES = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def lines() -> Iterator[tuple[str, str]]:
    """Each line of the contract, with its message, enum or service."""
    inside = ""
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        if line.startswith(("message ", "enum ", "service ")):
            inside = line
            yield inside, ""
        elif line.startswith("    "):
            yield inside, line.strip()


def type_of(field: FieldDescriptor) -> str:
    if field.message_type is None:
        name = TYPES[field.type] if field.enum_type is None else field.enum_type.name
    elif field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[each] for each in ("key", "value"))
        return f"map<{type_of(key)}, {type_of(value)}>"
    else:
        name = field.message_type.name
    text = f"repeated {name}" if field.is_repeated else name
    return f"{text} in {field.containing_oneof.name}" if field.containing_oneof else text


def signature(call: MethodDescriptor) -> str:
    up = "stream " if call.client_streaming else ""
    down = "stream " if call.server_streaming else ""
    return f"{call.name} {up}{call.input_type.name} -> {down}{call.output_type.name}"


def ours(inside: str) -> set[str]:
    """The same lines, generated from the descriptor of a message, enum or service."""
    kind, name = inside.split()
    if kind == "service":
        return {signature(each) for each in pb.DESCRIPTOR.services_by_name[name].methods}
    if kind == "enum":
        values = pb.DESCRIPTOR.enum_types_by_name[name].values
        return {f"{each.number} {each.name}" for each in values}
    fields = pb.DESCRIPTOR.message_types_by_name[name].fields
    return {f"{each.number} {each.name} {type_of(each)}" for each in fields}


def test_the_package_is_the_published_one() -> None:
    assert pb.DESCRIPTOR.package == "job.v1"


@promise(
    "server/published-contract-is-served",
    "A client of the published contract is served. Fields and values that airunner adds have "
    "numbers from 100 up.",
)
@pytest.mark.parametrize(("inside", "line"), list(lines()))
def test_what_is_published_is_there(inside: str, line: str) -> None:
    assert not line or line in ours(inside)


@holds("server/published-contract-is-served")
def test_what_is_ours_in_published_messages_and_enums_has_numbers_from_100_up() -> None:
    published = {line for _, line in lines() if line}
    for inside in dict.fromkeys(inside for inside, _ in lines()):
        if not inside.startswith("service "):
            for each in ours(inside) - published:
                assert int(each.split()[0]) >= 100, f"{inside}: {each}"
