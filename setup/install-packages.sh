#!/bin/sh
# Installs the packages of packages.txt that are missing; says nothing when there are none. One with
# a "?" is left out where the distribution doesn't have it.
set -euf

list=$(dirname "$0")/packages.txt
wanted=$(sed 's/#.*//' "$list")

command -v dpkg-query >/dev/null || {
    echo "error: no dpkg here: this is neither Debian nor Ubuntu." >&2
    echo "Install the equivalents of $list yourself, then run make with PACKAGES=skip." >&2
    exit 1
}

offered() {
    for package in $optional; do
        apt-cache show "$package" >/dev/null 2>&1 && printf ' %s' "$package"
    done
    return 0
}

missing=
optional=
for entry in $wanted; do
    package=${entry%\?}
    status=$(dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | head -n 1)
    if [ "$status" = installed ]; then
        continue
    elif [ "$package" = "$entry" ]; then
        missing="$missing $package"
    else
        optional="$optional $package"
    fi
done
[ -n "$missing$(offered)" ] || exit 0

# Another apt, such as the nightly one, may hold the lock for a while.
install="apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    [ -n "$missing" ] || exit 0
    echo "error: packages are missing, and this is neither root nor is there sudo. As root, run:" >&2
    echo "    apt-get update && DEBIAN_FRONTEND=noninteractive $install$missing$optional" >&2
    exit 1
fi

echo "packages: installing$missing$optional (about 1 to 3 min${as_root:+; sudo may ask for your password})"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists first: those of a fresh machine are empty or name packages that are gone.
if $as_root apt-get update >"$log" 2>&1 &&
    $as_root env DEBIAN_FRONTEND=noninteractive $install $missing $(offered) </dev/null \
        >"$log" 2>&1; then
    echo "packages: done"
elif [ -z "$missing" ]; then
    echo "packages: could not install$optional, which some tests and runs need"
else
    tail -n 20 "$log" >&2
    echo "error: apt-get failed, see above. Mend that, or run as root:" >&2
    echo "    apt-get update && DEBIAN_FRONTEND=noninteractive $install$missing" >&2
    exit 1
fi
