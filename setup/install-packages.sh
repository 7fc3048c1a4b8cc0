#!/bin/sh
# Installs the packages of packages.txt that are missing; says nothing when there are none.
set -eu

list=$(dirname "$0")/packages.txt
wanted=$(sed 's/#.*//' "$list")

command -v dpkg-query >/dev/null || {
    echo "error: no dpkg here: this is neither Debian nor Ubuntu." >&2
    echo "Install the equivalents of $list yourself, then run make with PACKAGES=skip." >&2
    exit 1
}

missing=
for package in $wanted; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | head -n 1)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# Another apt, such as the nightly one, may hold the lock for a while.
install="apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "error: packages are missing, and this is neither root nor is there sudo. As root, run:" >&2
    echo "    apt-get update && DEBIAN_FRONTEND=noninteractive $install" >&2
    exit 1
fi

echo "packages: installing$missing (about 1 to 3 min${as_root:+; sudo may ask for your password})"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists first: those of a fresh machine are empty or name packages that are gone.
if $as_root apt-get update >"$log" 2>&1 &&
    $as_root env DEBIAN_FRONTEND=noninteractive $install </dev/null >"$log" 2>&1; then
    echo "packages: done"
else
    tail -n 20 "$log" >&2
    echo "error: apt-get failed, see above. Mend that, or run as root:" >&2
    echo "    apt-get update && DEBIAN_FRONTEND=noninteractive $install" >&2
    exit 1
fi
