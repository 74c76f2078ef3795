"""Quantities of Kubernetes: ``500m`` cores, ``1Gi`` bytes."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ipa_rl.errors import quoted

_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}


def quantity(text: object) -> Decimal:
    """A quantity as a number; ValueError where it is none.

    >>> quantity("1500m"), quantity("1Ki"), quantity(2)
    (Decimal('1.500'), Decimal('1024'), Decimal('2'))
    """
    written = str(text)
    for length in (2, 1):
        factor = _FACTORS.get(written[-length:])
        if factor is not None:
            return _number(written[:-length], written) * factor
    return _number(written, written)


def _number(digits: str, whole: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise ValueError(f"{quoted(whole)} is no quantity") from None


def resolved(share: object, of: int, round_up: bool) -> int:
    """A count, given as such or in percent of ``of`` (``maxSurge`` rounds up, ``maxUnavailable`` down).

    >>> resolved("25%", 5, round_up=True), resolved("25%", 5, round_up=False), resolved(3, 5, round_up=True)
    (2, 1, 3)
    """
    text = str(share)
    if not text.endswith("%"):
        return int(text)
    parts = int(text[:-1]) * of
    return -(-parts // 100) if round_up else parts // 100
