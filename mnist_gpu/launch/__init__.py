"""Starting the benchmark on somebody else's machine and bringing its record home.

One module per platform that has an API; what they share is in `entry` (options, errors, secrets),
`payload` (the bootstrap file they send) and `marked` (the result line they read).
"""
