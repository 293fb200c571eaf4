"""User data for a fresh Ubuntu server: run the bootstrap, show the result, switch off.

Schema: https://docs.cloud-init.io/en/latest/reference/modules.html
"""

import base64
import gzip
import json
from typing import Any

from mnist_gpu.launch import payload

FOLDER = "/opt/mnist-gpu"
DRIVER_WAIT_S = 900
# a server with a whole GPU installs its driver during the first boot
WAIT_FOR_DRIVER = (
    "if lspci | grep -qi nvidia; then"
    f" for i in $(seq {DRIVER_WAIT_S // 10}); do nvidia-smi >/dev/null 2>&1 && break; sleep 10;"
    " done; fi"
)


def user_data(
    source: str,
    overrides: list[str],
    tag: str,
    timeout_s: int,
    pip_index: str = "",
    engines: str = "",
) -> str:
    """The `#cloud-config` text.

    Args:
        source: what the bootstrap installs.
        overrides: of the run.
        tag: marks the result.
        timeout_s: from the bootstrap's start to the runs' interruption, seconds; the server
            switches itself off soon after, even when its launcher is gone.
        pip_index: where torch comes from, or nothing.
        engines: which runs to make, or nothing for the bootstrap's own choice.
    """
    settings: dict[str, Any] = {
        "source": source,
        "overrides": overrides,
        "tag": tag,
        "timeout": timeout_s,
        "into": FOLDER,
        "work": f"{FOLDER}/work",
        "result_to": "/dev/console",
        **({"pip_index": pip_index} if pip_index else {}),
        **({"engines": engines} if engines else {}),
    }
    script = gzip.compress(payload.bootstrap(settings).encode(), mtime=0)
    config = {
        "package_update": True,
        "packages": ["python3-pip", "python3-venv"],
        "write_files": [
            {
                "path": f"{FOLDER}/bootstrap.py",
                "encoding": "gz+b64",
                "content": base64.b64encode(script).decode(),
                "permissions": "0644",
            }
        ],
        "runcmd": [
            ["shutdown", "-h", f"+{timeout_s // 60 + 5}"],
            ["sh", "-c", WAIT_FOR_DRIVER],
            ["env", "HOME=/root", "python3", f"{FOLDER}/bootstrap.py"],
        ],
        "power_state": {"mode": "poweroff", "delay": "now", "timeout": 60},
    }
    # JSON is YAML too, and needs no quoting rules
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"
