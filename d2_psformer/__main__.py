"""``python -m d2_psformer`` is the command ``psformer``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
