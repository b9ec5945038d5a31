"""Parameters of a node: one frozen dataclass is the schema, ROS does the rest.

Each field becomes a declared parameter with its description; a wrong type is refused by ROS, a
wrong value by the dataclass's own checks, both before the node does anything.
"""

from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

T = TypeVar("T")


class ParameterError(ValueError):
    """A parameter is missing, of the wrong type, or out of range."""


def param(doc: str, default: Any = MISSING, *, dynamic: bool = False) -> Any:
    """A field of a parameter schema; without a default it must be given."""
    metadata = {"doc": doc, "dynamic": dynamic}
    return (
        field(metadata=metadata)
        if default is MISSING
        else field(default=default, metadata=metadata)
    )


_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False}


def declare(node: Node, schema: type[T]) -> T:
    """Declare the parameters of `schema` on `node` and read them.

    Raises:
        ParameterError: naming node and parameter.
    """
    values: dict[str, Any] = {}
    for f in fields(schema):  # type: ignore[arg-type]
        required = f.default is MISSING
        descriptor = ParameterDescriptor(
            description=f.metadata["doc"], read_only=not f.metadata["dynamic"]
        )
        default = _EMPTY[f.type if isinstance(f.type, type) else str] if required else f.default
        try:
            value = node.declare_parameter(f.name, default, descriptor).value
        except ParameterException as error:
            raise ParameterError(f"{node.get_name()}: parameter {f.name}: {error}") from error
        if required and value == default:
            raise ParameterError(
                f"{node.get_name()}: parameter {f.name} must be given: {f.metadata['doc']}"
            )
        values[f.name] = value
    try:
        return schema(**values)
    except ValueError as error:
        raise ParameterError(f"{node.get_name()}: {error}") from error
