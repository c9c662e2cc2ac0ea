"""What the tests against other programs share: what they need, and where the tools are (--tools DIR, else build/tools)."""
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def need(*modules):
    """Ends the program with 77, which ctest calls skipped, where one of them is missing."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            print(f"SKIPPED: no {name}; tests/peers.sh installs what is needed")
            sys.exit(77)


def _tools():
    if "--tools" not in sys.argv:
        return ROOT / "build" / "tools"
    at = sys.argv.index("--tools")
    folder = pathlib.Path(sys.argv[at + 1]).resolve()
    del sys.argv[at:at + 2]  # unittest reads the rest
    return folder


TOOLS = _tools()
