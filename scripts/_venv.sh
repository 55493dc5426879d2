# Sourced by run and test: makes .venv and installs ixyfwd into it when there is something to do.
#
# What was installed, from which checkout, is remembered in .venv/ixyfwd.stamp, so that a second run costs a few
# milliseconds. IXYFWD_PYTHON names another interpreter, IXYFWD_VENV another place.

unset CDPATH # with it `cd` may go elsewhere, and prints where
root=$(cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
venv=${IXYFWD_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
tree=$root # where the code is installed from, and tests run; a copy if the checkout cannot be written

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

# A build writes into these.
can_build_in_root() {
    local place
    for place in "$root" "$root/ixyfwd" "$root"/build "$root"/ixyfwd.egg-info; do
        [ ! -e "$place" ] || [ -w "$place" ] || return 1
    done
}

# A checkout that cannot be written is installed from a copy.
copy_tree() {
    rm -rf "$tree"
    mkdir "$tree"
    cp -R "$root"/{pyproject.toml,MANIFEST.in,LICENSE,config.toml,docs,ixyfwd,scripts,tests} "$root"/*.md "$tree" &&
        chmod -R u+w "$tree" || die "$root cannot be copied to $tree"
}

# What an installation depends on. From a copy, that is all of the checkout.
checksum() {
    local - GLOBIGNORE="$root/ixyfwd/telemetry/words.h" # the build makes it
    shopt -s globstar nullglob
    if [ "$tree" = "$root" ]; then
        cat "$root"/pyproject.toml "$root"/ixyfwd/_build.py "$root"/ixyfwd/telemetry/counters.py \
            "$root"/ixyfwd/**/[!_]*.[ch]
    else
        cat "$root"/pyproject.toml "$root"/{docs,ixyfwd,scripts,tests}/**/*.{py,pyi,c,h,toml,md} "$root"/scripts/*[a-z]
    fi | cksum
}

# Refuse what is not ours to change.
check_venv() {
    local owner="" inside
    mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] ||
        die "$venv cannot be written by this user; let its owner run this once, or set IXYFWD_VENV to a directory of yours"
    inside=$(shopt -s nullglob dotglob && cd -- "$venv" && echo *)
    [ -z "$inside" ] || [ -f "$venv/pyvenv.cfg" ] || [ -f "$venv/ixyfwd.lock" ] ||
        die "$venv is a directory with other files in it; name a new one, or a virtual environment, in IXYFWD_VENV"
    [ ! -r "$venv/ixyfwd.stamp" ] || owner=$(sed -n 2p "$venv/ixyfwd.stamp")
    # One in a checkout came with it when that was copied.
    case $venv in "$root"/*) return ;; esac
    if [ -n "$owner" ] && [ "$owner" != "$root" ] && [ -e "$owner/scripts/_venv.sh" ]; then
        die "$venv runs the code of the checkout $owner; set IXYFWD_VENV to another directory for $root"
    fi
}

install_into_venv() {
    local extras=$1 python=$2 log=$venv/install.log
    if [ -e "$venv/pyvenv.cfg" ] && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        [ -e "$venv/ixyfwd.made" ] || [ "$venv" = "$root/.venv" ] ||
            die "$venv has no Python that works and has pip; remove it, or name another directory in IXYFWD_VENV"
        rm -rf "$venv"
        mkdir -p "$venv"
    fi
    if [ ! -e "$venv/pyvenv.cfg" ]; then
        "$python" -m venv "$venv" || die "$venv: the virtual environment could not be made"
        : >"$venv/ixyfwd.made"
    fi
    [ "$tree" = "$root" ] || copy_tree
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --retries 2 --timeout 20 \
        -e "$tree${extras:+[$extras]}" >"$log" 2>&1; then
        if grep -qiE 'network is unreachable|name resolution|connection (refused|timed out|broken)|max retries|no route to host|ProxyError' "$log"; then
            die "the Python packages could not be fetched: no package index answered (see $log)"
        fi
        die "the installation failed: $(grep -E 'error:|ERROR:' "$log" | tail -n 1) (see $log)"
    fi
}

# is_installed STAMP WANT WHERE: whether there is nothing to do. The test installation serves run and bench as well, the
# bench installation run.
is_installed() {
    local stamp=$1 want=$2 where=$3
    [ -r "$stamp" ] && [ -x "$venv/bin/python" ] && [ "$(sed 1d "$stamp")" = "$where" ] || return 1
    case "$(sed -n 1p "$stamp")" in
        "$want" | "test ${want#* }") ;;
        "bench ${want#* }") [ -z "${want%% *}" ] ;;
        *) return 1 ;;
    esac
}

# ensure_venv EXTRAS: EXTRAS as in pip's brackets, or nothing
ensure_venv() {
    local extras=$1 python stamp want where
    stamp=$venv/ixyfwd.stamp
    can_build_in_root || tree=$venv/checkout
    want="$extras $(checksum)"
    # Scripts and the path to the code hold both places.
    where="$root
$venv"
    ! is_installed "$stamp" "$want" "$where" || return 0
    python=$(find_python) || exit 1
    check_can_build "$python"
    check_venv
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$venv/ixyfwd.lock"
        flock 9
        if is_installed "$stamp" "$want" "$where"; then # by whoever had the lock
            exec 9>&-
            return
        fi
    fi
    echo "${0##*/}: installing into $venv (once; about half a minute)" >&2
    rm -f "$stamp"
    install_into_venv "$extras" "$python"
    printf '%s\n%s\n' "$want" "$where" >"$stamp"
    exec 9>&-
}
