"""Provoking what goes wrong on real machines, and checking what is left behind."""
