"""Tables of what things cost: engines beside their frameworks alone, switches, memory, hooks."""
