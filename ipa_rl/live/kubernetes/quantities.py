"""Quantities and shares of Kubernetes: ``500m`` cores, ``1Gi`` bytes, ``25%`` of the replicas."""

from __future__ import annotations

from decimal import Decimal

from ipa_rl.errors import MissingExtraError

try:
    from kubernetes.utils.quantity import parse_quantity
except ImportError as error:  # pragma: no cover - the tests run with the extra
    raise MissingExtraError("The Kubernetes client", "kubernetes") from error


def quantity(text: object) -> Decimal:
    """A quantity as a number. Raises ValueError for any other text.

    >>> quantity("1500m"), quantity("1Ki"), quantity(2)
    (Decimal('1.500'), Decimal('1024'), Decimal('2'))
    """
    return Decimal(parse_quantity(str(text)))  # type: ignore[no-untyped-call]


def share_of(share: object, of: int) -> int:
    """A count, given as such or in percent of ``of``, rounded down (as ``maxUnavailable`` is).

    >>> share_of("25%", 5), share_of(3, 5)
    (1, 3)
    """
    text = str(share)
    return int(text[:-1]) * of // 100 if text.endswith("%") else int(text)
