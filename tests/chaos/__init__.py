"""Kills, drawn configurations and hostile folders by the hundred: python -m tests.chaos; no part of the quick suite."""
