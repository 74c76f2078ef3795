"""Reporting: what a run came to, as a card, a page and pictures."""
