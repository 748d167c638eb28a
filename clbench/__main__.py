"""``python -m clbench``."""

import sys

from clbench.cli import main

if __name__ == "__main__":
    code = main()
    # An interruption that went through exec(), as where a dataclass is made, is remembered by Python,
    # which would kill itself with SIGINT at its end although it was handled. This makes it forget.
    exec("")
    sys.exit(code)
