"""One way in a process of its own:
`python -m mnist_gpu.bench.worker WAY MODEL PRECISION STEPS WEIGHTS`.

Prints `ready`, then for every line it reads the seconds of one more repeat (for the way `peak`:
floating-point operations per second).
"""

import sys
from pathlib import Path


def main() -> None:
    """Serve repeats until the input ends."""
    way, model, precision, steps, weights = sys.argv[1:6]
    if way == "peak":
        from mnist_gpu.bench.peak import peak_flops_per_s

        once = peak_flops_per_s(precision)
    else:
        from mnist_gpu.bench.ways import WAYS
        from mnist_gpu.bench.workload import workload

        once = WAYS[way](workload(model, int(steps), precision, Path(weights)))
    once()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(f"result {once()!r}", flush=True)


if __name__ == "__main__":
    main()
