"""SPI controllers as ports: with packages made up, and without any."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from hwgen.errors import LinkError
from hwgen.link.driver import Link
from hwgen.link.protocol import Command, Decoder, Frame, Info
from hwgen.link.spi_port import SpiPort, is_spi, open_spi


class _Peripheral:
    """Answers a PING, some bytes late; what it does not say is 0."""

    def __init__(self, late: int) -> None:
        self.late = late
        self.said = bytearray()
        self.transfers: list[int] = []
        self.closed = False
        self._decoder = Decoder()

    def exchange(self, data: bytes) -> bytes:
        self.transfers.append(len(data))
        answer = bytes(self.said[: len(data)]).ljust(len(data), b"\0")
        del self.said[: len(data)]
        for frame in self._decoder.feed(data):
            info = Frame(Command.INFO, frame.sequence, Info(1, 2, 3, 4).encode())
            self.said += bytes(self.late) + info.encode()
        return answer

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("late", [0, 3, 100])
def test_answers_come_for_zeros(late: int) -> None:
    peripheral = _Peripheral(late)
    with Link(SpiPort(peripheral.exchange, peripheral.close), timeout=5) as link:
        assert link.ping() == Info(1, 2, 3, 4)
    assert peripheral.closed


def test_transfers_are_no_longer_than_a_controller_takes() -> None:
    peripheral = _Peripheral(0)
    port = SpiPort(peripheral.exchange, peripheral.close, chunk=10)
    assert port.write(bytes(25)) == 25
    assert len(port.read(99)) == 10
    assert peripheral.transfers == [10, 10, 5, 10]


def test_a_silent_peripheral_is_given_up() -> None:
    port = SpiPort(lambda data: bytes(len(data)), lambda: None)
    with pytest.raises(LinkError, match="no answer came"):
        Link(port, timeout=0.02, retries=0).ping()


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("/dev/spidev0.1", True),
        ("ftdi://ftdi:232h/1", True),
        ("/dev/ttyUSB0", False),
        ("/dev/spidev0", False),
    ],
)
def test_names_of_controllers(device: str, found: bool) -> None:
    assert is_spi(device) == found


def test_spidev(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, object] = {}

    class SpiDev:
        def open(self, bus: int, chip_select: int) -> None:
            found["at"] = (bus, chip_select)

        def xfer2(self, data: list[int]) -> list[int]:
            return [byte ^ 255 for byte in data]

        def close(self) -> None:
            found.update(vars(self))

    module = ModuleType("spidev")
    module.SpiDev = SpiDev  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spidev", module)
    port = open_spi("/dev/spidev1.2", hz=1_500_000)
    assert port.read(3) == b"\xff\xff\xff"
    port.close()
    assert found == {"at": (1, 2), "mode": 0, "max_speed_hz": 1_500_000}


def test_pyftdi(monkeypatch: pytest.MonkeyPatch) -> None:
    class UsbToolsError(Exception):
        pass

    class Port:
        def exchange(self, data: bytes, readlen: int, duplex: bool) -> bytearray:
            assert (readlen, duplex) == (len(data), True)
            return bytearray(data)

    class SpiController:
        def configure(self, url: str) -> None:
            if url.endswith("9"):
                raise UsbToolsError("No such device")

        def get_port(self, cs: int, freq: float, mode: int) -> Port:
            assert (cs, freq, mode) == (0, 1_500_000, 0)
            return Port()

        def terminate(self) -> None:
            pass

    spi, tools = ModuleType("pyftdi.spi"), ModuleType("pyftdi.usbtools")
    spi.SpiController = SpiController  # type: ignore[attr-defined]
    tools.UsbToolsError = UsbToolsError  # type: ignore[attr-defined]
    modules = {"pyftdi": ModuleType("pyftdi"), "pyftdi.spi": spi, "pyftdi.usbtools": tools}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    port = open_spi("ftdi://ftdi:232h/1", hz=1_500_000)
    assert port.read(2) == bytes(2)
    port.close()
    with pytest.raises(LinkError, match=r"'ftdi://::/9' cannot be opened: No such device"):
        open_spi("ftdi://::/9", hz=1_500_000)


@pytest.mark.parametrize(
    ("device", "package"), [("/dev/spidev0.0", "spidev"), ("ftdi://ftdi:232h/1", "pyftdi")]
)
def test_packages_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, device: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.spi", None)
    with pytest.raises(
        LinkError, match=f"needs the package {package}: run 'pip install {package}'"
    ):
        Link.open(device, baud=1_000_000)
