"""SPI controllers as ports of a link, by packages that drive them."""

from __future__ import annotations

import re
from collections.abc import Callable

from hwgen.errors import LinkError

__all__ = ["SpiPort", "is_spi", "open_spi"]

_CHUNK = 4096  # bytes that Linux exchanges at once

Exchange = Callable[[bytes], bytes]
"""Sends bytes, and returns as many that came meanwhile."""


class SpiPort:
    """A port over a controller that ``exchange``s bytes: what is read is paid for with zeros.

    What comes while a request goes is no answer to it, and is dropped.
    """

    def __init__(
        self, exchange: Exchange, close: Callable[[], object], *, chunk: int = _CHUNK
    ) -> None:
        self._exchange = exchange
        self._close = close
        self._chunk = chunk

    def read(self, size: int, /) -> bytes:
        """``size`` bytes at most."""
        return self._exchange(bytes(min(size, self._chunk)))

    def write(self, data: bytes, /) -> int | None:
        """Send all of ``data``."""
        for start in range(0, len(data), self._chunk):
            self._exchange(data[start : start + self._chunk])
        return len(data)

    def close(self) -> None:
        """Give the controller back."""
        self._close()


def is_spi(device: str) -> bool:
    """Whether ``device`` names an SPI controller: /dev/spidevB.C, or ftdi://... of pyftdi."""
    return device.startswith("ftdi://") or _SPIDEV.fullmatch(device) is not None


def open_spi(device: str, *, hz: int) -> SpiPort:
    """The controller ``device`` in mode 0 with a clock of at most ``hz``.

    Raises
    ------
    LinkError
        If the package that drives it is not installed, or it cannot be opened.
    """
    found = _SPIDEV.fullmatch(device)
    try:
        if found is not None:
            return _spidev(int(found[1]), int(found[2]), hz)
        return _ftdi(device, hz)
    except ImportError:
        package = "pyftdi" if found is None else "spidev"
        raise LinkError(
            f"SPI at {device!r} needs the package {package}: run 'pip install {package}'"
        ) from None
    except (OSError, ValueError) as error:
        raise LinkError(f"The SPI controller {device!r} cannot be opened: {error}") from None


_SPIDEV = re.compile(r"/dev/spidev(\d+)\.(\d+)")


def _spidev(bus: int, chip_select: int, hz: int) -> SpiPort:
    import spidev

    controller = spidev.SpiDev()
    controller.open(bus, chip_select)
    controller.mode = 0
    controller.max_speed_hz = hz
    return SpiPort(lambda data: bytes(controller.xfer2(list(data))), controller.close)


def _ftdi(url: str, hz: int) -> SpiPort:
    from pyftdi.spi import SpiController
    from pyftdi.usbtools import UsbToolsError

    controller = SpiController()
    try:
        controller.configure(url)
    except UsbToolsError as error:  # which is no OSError
        raise ValueError(str(error)) from None
    port = controller.get_port(cs=0, freq=hz, mode=0)

    def exchange(data: bytes) -> bytes:
        return bytes(port.exchange(data, len(data), duplex=True))

    return SpiPort(exchange, controller.terminate)
