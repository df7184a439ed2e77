"""Compares proto/orchestrator_service.proto with the descriptor inside the published Python SDK.

Usage: compare.py OURS, where OURS is the FileDescriptorSet that protoc made of our file. Both sides
are flattened into facts, one line of text per name ("field HistoryEvent.eventId" -> "1 int32 ..."),
so that a difference reads as what it is. Each message, enum and service is one check.
"""

import re
import sys

from durabletask.internal import orchestrator_service_pb2
from google.protobuf import descriptor_pb2

Field = descriptor_pb2.FieldDescriptorProto

# Where the published SDK itself lacks or adds something: subject -> the reason. Every entry must
# still be needed, or the test fails.
ALLOWED = {}


def type_of(field):
    name = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
    return field.type_name.removeprefix(".") if field.type_name else name


def json_name(field):
    """The name in JSON. The SDK's descriptor leaves it out where the rule of proto3 makes it."""
    return field.json_name or re.sub("_(.?)", lambda match: match[1].upper(), field.name)


def field_fact(field, oneofs):
    """Everything about a field that the wire, JSON or reflection shows."""
    words = [str(field.number), Field.Label.Name(field.label).removeprefix("LABEL_").lower(),
             type_of(field), "json=" + json_name(field)]
    if field.proto3_optional:
        words.append("explicit presence")
    elif field.HasField("oneof_index"):
        words.append("oneof " + oneofs[field.oneof_index])
    if field.options.deprecated:
        words.append("deprecated")
    if field.options.HasField("packed"):
        words.append("packed=" + str(field.options.packed).lower())
    if field.HasField("default_value"):
        words.append("default=" + field.default_value)
    return " ".join(words)


def enum_facts(enum, prefix, facts):
    subject = facts.setdefault("enum " + prefix + enum.name, {})
    for value in enum.value:
        subject["value " + value.name] = str(value.number)
    for reserved in enum.reserved_range:
        subject[f"reserved {reserved.start}-{reserved.end}"] = "yes"
    for name in enum.reserved_name:
        subject["reserved name " + name] = "yes"
    subject["allow_alias"] = str(enum.options.allow_alias)


def message_facts(message, prefix, facts):
    subject = facts.setdefault("message " + prefix + message.name, {})
    oneofs = [oneof.name for oneof in message.oneof_decl]
    for field in message.field:
        subject["field " + field.name] = field_fact(field, oneofs)
    for reserved in message.reserved_range:
        subject[f"reserved {reserved.start}-{reserved.end - 1}"] = "yes"
    for name in message.reserved_name:
        subject["reserved name " + name] = "yes"
    subject["map entry"] = str(message.options.map_entry)
    for nested in message.nested_type:
        message_facts(nested, prefix + message.name + ".", facts)
    for enum in message.enum_type:
        enum_facts(enum, prefix + message.name + ".", facts)


def service_facts(service, facts):
    subject = facts.setdefault("service " + service.name, {})
    for method in service.method:
        subject["rpc " + method.name] = "{}{} -> {}{}".format(
            "stream " if method.client_streaming else "", method.input_type.removeprefix("."),
            "stream " if method.server_streaming else "", method.output_type.removeprefix("."))


def file_facts(file):
    facts = {"file": {"package": file.package, "syntax": file.syntax}}
    for dependency in file.dependency:
        facts["file"]["import " + dependency] = "yes"
    for message in file.message_type:
        message_facts(message, "", facts)
    for enum in file.enum_type:
        enum_facts(enum, "", facts)
    for service in file.service:
        service_facts(service, facts)
    return facts


def differences(ours, theirs):
    """Lines that say what differs between two {name: fact} of one subject, without the allowed."""
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield name, f"{name}: ours {ours.get(name, 'absent')}, SDK {theirs.get(name, 'absent')}"


def main():
    files = descriptor_pb2.FileDescriptorSet()
    with open(sys.argv[1], "rb") as stream:
        files.ParseFromString(stream.read())
    reference = descriptor_pb2.FileDescriptorProto()
    orchestrator_service_pb2.DESCRIPTOR.CopyToProto(reference)
    ours, theirs = file_facts(files.file[0]), file_facts(reference)

    passed, failed, used = 0, 0, set()
    for subject in sorted(ours.keys() | theirs.keys()):
        lines = []
        for name, line in differences(ours.get(subject, {}), theirs.get(subject, {})):
            key = subject + " / " + name
            if key in ALLOWED:
                used.add(key)
                print(f"allowed: {subject}: {line} ({ALLOWED[key]})")
            else:
                lines.append(line)
        passed, failed = (passed, failed + 1) if lines else (passed + 1, failed)
        for line in lines:
            print(f"DIFFERENT {subject}: {line}")
    for key in sorted(ALLOWED.keys() - used):
        failed += 1
        print(f"STALE allowance, the difference is gone: {key}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
