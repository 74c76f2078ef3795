"""`ipa-rl profile` for those who drive runs from scripts: same arguments, same functions."""

import sys

from ipa_rl.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "profile")
    main()
