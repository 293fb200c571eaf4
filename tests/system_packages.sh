#!/usr/bin/env bash
# Installs what some tests drive, where it is missing, from Debian's packages.
#
#   system_packages.sh browser    Chromium and its driver (the default)
#   system_packages.sh slurm      Slurm and Munge
#   system_packages.sh compiler   gcc
#
# Exit 0: it is there. Exit 1, with the reason on stderr: it is not and cannot be installed here.
# Exit 3: it could have been installed, and that failed.
set -euo pipefail

case "${1:-browser}" in
browser)
    commands=(chromium chromedriver)
    packages=(chromium chromium-driver fonts-dejavu-core)
    ;;
slurm)
    commands=(slurmctld slurmd munged sbatch)
    packages=(slurmctld slurmd slurm-client munge)
    ;;
compiler)
    commands=(gcc)
    packages=(gcc libc6-dev)
    ;;
*)
    echo "usage: $(basename "$0") [browser|slurm|compiler]" >&2
    exit 2
    ;;
esac
PATH="$PATH:/usr/sbin:/sbin"

found() {
    local command
    for command in "${commands[@]}"; do
        command -v "$command" >/dev/null || return 1
    done
}

if found; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "no ${commands[*]}, and no apt-get to install them" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "no ${commands[*]}; as root: apt-get install ${packages[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# one at a time: tests run in several processes, and apt-get refuses where another one is at work
exec 9>"${TMPDIR:-/tmp}/mnist-gpu-system-packages.lock"
flock 9
if found; then
    exit 0
fi
log="$(mktemp)"
patient=(-o DPkg::Lock::Timeout=300)
# 9>&-: a daemon that a package starts would hold the lock as long as it lives
if ! { apt-get "${patient[@]}" update &&
    apt-get "${patient[@]}" install -y --no-install-recommends "${packages[@]}"; } \
    >"$log" 2>&1 9>&-; then
    tail -n 3 "$log" >&2
    exit 3
fi
rm -f "$log"
found || exit 3
