"""The engine's protocol and its values as plain Python ones. ``empty_packages`` keeps the rest of the SDK out."""

from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]  # its stubs are not in the lock
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from pachon.model.packing import pack, unpack

__all__ = ["plugin_pb2", "provider_pb2", "provider_pb2_grpc", "to_python", "to_struct"]

Properties = dict[str, Any]


def to_python(message: struct_pb2.Struct) -> Properties:
    """The properties as plain values, unpacked; whole numbers come back as integers (the wire knows floats only)."""
    return unpack({key: _value(value) for key, value in message.fields.items()})


def _value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return {key: _value(inner) for key, inner in value.struct_value.fields.items()}
        case "list_value":
            return [_value(element) for element in value.list_value.values]
        case _:
            return None


def to_struct(properties: Properties) -> struct_pb2.Struct:
    """The properties as the engine wants them."""
    message = struct_pb2.Struct()
    message.update(pack(properties))
    return message
