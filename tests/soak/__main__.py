"""``python -m tests.soak``: exit code 0 where everything ended right and in time, and the controls failed."""

import sys

from tests.soak.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
