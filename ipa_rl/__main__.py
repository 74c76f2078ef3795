"""``python -m ipa_rl`` is ``ipa-rl``."""

from ipa_rl.cli import main

if __name__ == "__main__":
    main()
