# Shared by the scripts beside it. Each begins with:
#
#     set -euo pipefail
#     source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The folder of the project.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Whether version $1 is at least version $2.
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root: $*"
    fi
}

# Those of the Debian packages $@ that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i' || echo "$package"
    done
}

# Installs the Debian packages $@ as far as they are missing.
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} = 0 ] && return
    have apt-get || die "missing: ${missing[*]}. Without apt-get they must be installed by hand"
    say "installing ${missing[*]}"
    # A list of packages that is out of date names versions that are gone, so it is fetched only when it is needed,
    # but then anew.
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The oldest Rust that the workspace builds with.
rust_version() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml"; }

# Puts the folder of a Rust that is new enough in front of PATH; fails if there is none.
find_rust() {
    local wanted folder
    wanted=$(rust_version)
    for folder in "$(dirname "$(command -v cargo || echo /none/cargo)")" "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin; do
        if [ -x "$folder/cargo" ] && [ -x "$folder/rustc" ] &&
            version_at_least "$("$folder/rustc" --version | cut -d ' ' -f 2)" "$wanted"; then
            export PATH="$folder:$PATH"
            return
        fi
    done
    return 1
}

# Where Cargo builds to.
target_folder=${CARGO_TARGET_DIR:-$root/target}
