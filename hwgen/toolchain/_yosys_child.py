"""Run a Yosys script file in this process; the part of :mod:`hwgen.toolchain.yosys` that may die.

Used as ``python _yosys_child.py -s SCRIPT``, the one form of Yosys's own command line that build
plans use. Imports nothing of hwgen, so that it can be started by its path from any directory.
"""

import sys

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the script named by ``-s SCRIPT``; Yosys prints its log and exits with 1 on an error."""
    if len(arguments) != 2 or arguments[0] != "-s":
        sys.stderr.write("ERROR: usage: _yosys_child.py -s SCRIPT\n")
        return 2
    from pyosys import libyosys

    libyosys.run_pass(f"script {arguments[1]}", libyosys.Design())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
