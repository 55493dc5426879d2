# Sourced by run and test: makes .venv and installs ixyfwd into it when there is something to do.
#
# What was installed is remembered in .venv/ixyfwd.stamp (a checksum of what the installation depends on), so that a
# second run costs a few milliseconds. IXYFWD_PYTHON names another interpreter, IXYFWD_VENV another place.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${IXYFWD_VENV:-$root/.venv}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

find_python() {
    local candidate found=""
    for candidate in ${IXYFWD_PYTHON:-python3 python3.15 python3.14 python3.13 python3.12 python3.11}; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
        found+="${found:+, }$candidate is $("$candidate" -c 'import platform; print(platform.python_version())' 2>&1 | tail -n 1)"
    done
    die "Python 3.11 or newer is needed; found ${found:-no python3 at all}; install one or name it in IXYFWD_PYTHON"
}

check_can_build() {
    local python=$1 include
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv module; install it, for example: apt-get install python3-venv"
    command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
        die "no C compiler found (looked for ${CC:-cc} and gcc); install one, for example: apt-get install gcc libc6-dev"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$include/Python.h" ] ||
        die "the C headers of $python are missing ($include/Python.h); install them, for example: apt-get install python3-dev"
}

install_into_venv() {
    local extras=$1 log=$venv/install.log
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || rm -rf "$venv"
    [ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv" || die "$venv: the virtual environment could not be made"
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --retries 2 --timeout 20 \
        -e "$root${extras:+[$extras]}" >"$log" 2>&1; then
        if grep -qiE 'network is unreachable|name resolution|connection (refused|timed out|broken)|max retries|no route to host|ProxyError' "$log"; then
            die "the Python packages could not be fetched: no package index answered (see $log)"
        fi
        die "the installation failed: $(grep -E 'error:|ERROR:' "$log" | tail -n 1) (see $log)"
    fi
}

# ensure_venv EXTRAS: EXTRAS as in pip's brackets, or nothing
ensure_venv() {
    local extras=$1 python stamp want
    stamp=$venv/ixyfwd.stamp
    want="$extras $(
        shopt -s globstar
        cat "$root"/pyproject.toml "$root"/ixyfwd/_build.py "$root"/ixyfwd/telemetry/counters.py \
            "$root"/ixyfwd/**/_c/[!_]* "$root"/ixyfwd/engine/*.h "$root"/ixyfwd/programs/*/frame.h | cksum
    )"
    # The test installation serves run and bench as well, the bench installation run.
    if [ -r "$stamp" ]; then
        case "$(cat "$stamp")" in
            "$want" | "test ${want#* }") return ;;
            "bench ${want#* }") [ -n "$extras" ] || return 0 ;;
        esac
    fi
    python=$(find_python) || exit 1
    check_can_build "$python"
    mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] ||
        die "$venv cannot be written by this user; let its owner run this once, or set IXYFWD_VENV to a directory of yours"
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$venv/ixyfwd.lock"
        flock 9
    fi
    echo "${0##*/}: installing into $venv (once; about half a minute)" >&2
    rm -f "$stamp"
    install_into_venv "$extras"
    echo "$want" >"$stamp"
    exec 9>&-
}
