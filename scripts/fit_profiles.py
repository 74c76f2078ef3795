"""Write ``profiles/fits.json``: the fits of all shipped profiles, after a change of their points.

python scripts/fit_profiles.py
"""

import json

from ipa_rl import resources
from ipa_rl.profiles import load_profile
from ipa_rl.profiles.scaling import known_fits


def main() -> None:
    """Fit everything anew."""
    known = known_fits()
    known.clear()
    for name in resources.shipped_names("profiles"):
        load_profile(name)
    path = resources.folder("profiles") / "fits.json"
    lines = ",\n".join(f"{json.dumps(made_from)}: {known[made_from]}" for made_from in sorted(known))
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(f"wrote {path}: {len(known)} fits")


if __name__ == "__main__":
    main()
