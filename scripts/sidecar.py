"""The sidecar: the same as ``ipa-rl sidecar``.

python scripts/sidecar.py --config sidecar.yaml
"""

import sys

from ipa_rl.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "sidecar")
    main()
