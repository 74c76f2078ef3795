"""Luck: what is drawn for a task follows from its place in its request alone, whatever is decided."""

from __future__ import annotations

from ipa_rl.jit import compiled_in_place

CHOICE, COUNT, CHILD, SERVICE = 1 << 20, 1 << 21, 1 << 22, 1 << 30


@compiled_in_place
def drawn(luck: int, what: int) -> int:
    """Another number from 0 to 2^32 by a number and what it is for, as if at random.

    Twice the finaliser of 32 bits that multiplies with 0x45d9f3b (Mueller, "hash prospector", 2018).
    """
    found = (int(luck) ^ (int(what) * 0x9E3779B1 & 0xFFFFFFFF)) & 0xFFFFFFFF
    for _ in range(2):
        found = ((found >> 16) ^ found) * 0x45D9F3B & 0xFFFFFFFF
        found = ((found >> 16) ^ found) * 0x45D9F3B & 0xFFFFFFFF
        found = (found >> 16) ^ found
    return found


@compiled_in_place
def share_of(number: int) -> float:
    """The number on a scale from 0 to 1, neither included."""
    return (number + 0.5) / 4294967296.0
