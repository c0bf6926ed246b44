"""Pins read from the platform definitions of the package amaranth-boards."""

from __future__ import annotations

from typing import Any

from hwgen.boards.types import Pin, UartPins

__all__ = ["connector_pins", "resource_pins", "uart_pins"]


def resource_pins(platform: type[Any], name: str, number: int = 0) -> tuple[Pin, ...]:
    """Pins of the resource ``name`` with ``number`` of a platform class, as it lists them.

    Raises
    ------
    ValueError
        If the platform has no such resource.
    """
    resource = _resource(platform, name, number)
    pins = resource.ios[0]
    attributes = _attributes(resource.attrs)
    return tuple(Pin(site, attributes, bool(pins.invert)) for site in pins.names)


def uart_pins(platform: type[Any]) -> UartPins:
    """Receiver and transmitter of the first UART of a platform class.

    Raises
    ------
    ValueError
        If the platform has none.
    """
    resource = _resource(platform, "uart", 0)
    attributes = _attributes(resource.attrs)
    sites = {signal.name: signal.ios[0].names[0] for signal in resource.ios}
    return UartPins(Pin(sites["rx"], attributes), Pin(sites["tx"], attributes))


def connector_pins(
    platform: type[Any],
    name: str,
    number: int,
    positions: tuple[str, ...],
    attributes: dict[str, str],
) -> tuple[Pin, ...]:
    """Pins at ``positions`` of a connector of a platform class, with buffers of ``attributes``.

    Raises
    ------
    ValueError
        If the platform has no such connector, or nothing is at a position.
    """
    for connector in platform.connectors:
        if (connector.name, connector.number) == (name, number):
            missing = [position for position in positions if position not in connector.mapping]
            if missing:
                raise ValueError(f"Connector {name!r} {number} has no pin {missing[0]!r}")
            return tuple(
                Pin(connector.mapping[position], _attributes(attributes)) for position in positions
            )
    raise ValueError(f"{platform.__name__} has no connector {name!r} {number}")


def _resource(platform: type[Any], name: str, number: int) -> Any:
    for resource in platform.resources:
        if (resource.name, resource.number) == (name, number):
            return resource
    raise ValueError(f"{platform.__name__} has no resource {name!r} {number}")


def _attributes(attributes: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in attributes.items()))
