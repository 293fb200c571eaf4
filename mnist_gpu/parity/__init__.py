"""Proof that engines train the same thing: the same numbers, step by step."""
