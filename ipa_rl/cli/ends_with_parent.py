"""``python -m ipa_rl.cli.ends_with_parent VERB``: ``ipa-rl VERB`` that ends with the process that started it.

For processes that a demonstration starts: they hold the other end of their stdin open, and it closes however
they end, ``kill -9`` included.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from ipa_rl.cli import main


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    main()
