"""The tests of mnist-gpu. A worker of several takes CPUs of its own, before anything else."""

import os

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # threads of two workers on the same CPUs would wait for each other; children inherit this
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    number, count = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if own := cpus[number::count]:
        os.sched_setaffinity(0, own)
