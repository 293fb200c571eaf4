#!/usr/bin/env bash
# Installs what the browser test drives, where it is missing: Debian's Chromium and its driver.
# Exit 0: it is there. Exit 1, with the reason on stderr: it is not and cannot be installed here.
set -euo pipefail

found() {
    command -v chromium >/dev/null && command -v chromedriver >/dev/null
}

if found; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "no chromium and chromedriver, and no apt-get to install them" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "no chromium and chromedriver; as root: apt-get install chromium chromium-driver" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log="$(mktemp)"
if ! { apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver fonts-dejavu-core; } >"$log" 2>&1; then
    tail -n 3 "$log" >&2
    exit 1
fi
rm -f "$log"
found
