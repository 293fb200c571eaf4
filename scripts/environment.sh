# Sourced by the scripts: makes .venv once and keeps it current. Not run by itself.
#
#   prepare SET ...         installs locks/SET.txt for each SET, unless that was done before
#   run ARGUMENTS           ends with .venv's Python running ARGUMENTS
#   launch NAME ARGUMENTS   ends with that platform's launcher, in an environment of its own
#
# PYTHON             the Python to use (default: the newest of 3.13 to 3.11 that is found)
# MNIST_GPU_EXTRAS   further sets, such as "keras" or "mlx report"

installed=
heavy=yes
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
python="$venv/bin/python"

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

supported() {
    "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null || die "PYTHON=$PYTHON: not found"
        supported "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.11, 3.12 or 3.13"
        echo "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null && supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    die "needs Python 3.11, 3.12 or 3.13 and found none: install one, or name it in PYTHON"
}

make_venv() {
    local base
    base="$(find_python)" || exit 1
    echo "making .venv with $("$base" --version)" >&2
    if command -v uv >/dev/null; then
        uv venv --quiet --clear --python "$(command -v "$base")" "$venv" ||
            die "uv could not make $venv"
    else
        "$base" -c 'import venv, ensurepip' 2>/dev/null ||
            die "$base has no venv module: install it (Debian and Ubuntu: apt install python3-venv)"
        "$base" -m venv --clear "$venv" || die "could not make $venv"
    fi
}

# MLX's wheels for Linux are for glibc 2.35 or newer.
lacks_mlx() {
    local version
    version="$(getconf GNU_LIBC_VERSION 2>/dev/null)" || return 1
    version="${version#glibc }"
    [ "${version%%.*}" -eq 2 ] && [ "${version#*.}" -lt 35 ]
}

# The set in place of `base`: an older NVIDIA driver or GPU cannot run what PyPI's newest PyTorch is.
fitting() {
    if [ "$1" = base ] && command -v nvidia-smi >/dev/null; then
        "$python" "$root/scripts/bootstrap.py" --fitting-lock "$root" || echo base
    else
        echo "$1"
    fi
}

install_locked() {
    local arguments=() set lock
    for set in "$@"; do
        lock="$root/locks/$set.txt"
        [ -f "$lock" ] || die "no such set: $set (see locks/)"
        if lacks_mlx && grep -q '^mlx==' "$lock"; then
            [ "$set" = dev ] || die "$set: MLX needs glibc 2.35 or newer, and this system's is older"
            echo "without MLX, which needs glibc 2.35 or newer: the tests of engine=mlx are left out" >&2
            awk '/^[^ #]/ { mlx = /^mlx/ } !mlx' "$lock" >"$venv/without-mlx.txt"
            lock="$venv/without-mlx.txt"
        fi
        arguments+=(-r "$lock")
    done
    echo "installing: $* (the first time this takes minutes${heavy:+ and some GB})" >&2
    if command -v uv >/dev/null; then
        uv pip install --quiet --compile-bytecode --python "$python" --require-hashes "${arguments[@]}"
    else
        "$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            "${arguments[@]}"
    fi || die "the installation failed: is a package registry within reach?"
}

# Makes the checkout importable without a build step.
link_checkout() {
    local site
    site="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
    echo "$root" >"$site/mnist_gpu_checkout.pth"
}

prepare() {
    local sets="$* ${MNIST_GPU_EXTRAS:-}"
    local set stamp missing=()
    if [ -x "$python" ] && ! supported "$python"; then
        die ".venv has a Python that is not 3.11 to 3.13 or no longer works: remove .venv"
    fi
    [ -x "$python" ] || make_venv
    for set in $sets; do
        set="$(fitting "$set")"
        stamp="$venv/.installed-$set"
        if ! cmp -s "$root/locks/$set.txt" "$stamp"; then
            missing+=("$set")
        fi
    done
    [ ${#missing[@]} -eq 0 ] && return
    install_locked "${missing[@]}"
    installed=yes
    link_checkout
    for set in "${missing[@]}"; do
        cp "$root/locks/$set.txt" "$venv/.installed-$set"
    done
}

# After an installation in a process of its own: a run counts from the creation of its process, and
# the installation is not part of it.
run() {
    if [ -n "$installed" ]; then
        "$python" "$@"
        exit $?
    fi
    exec "$python" "$@"
}

# A launcher needs no framework, so it does not wait for one.
launch() {
    local name="$1"
    shift
    venv="$root/.venv-launch/$name"
    python="$venv/bin/python"
    heavy=
    MNIST_GPU_EXTRAS="" prepare "$name"
    run -m mnist_gpu.launch "$name" "$@"
}
