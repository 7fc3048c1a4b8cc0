#!/bin/sh
# First process of the guest. The root file system is the host's, read-only; /dev is the guest's
# own, so everything that has to be written to is mounted below it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. "${0%/*}/environment"

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm /dev/flowmob
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /dev/flowmob
mkdir /dev/flowmob/run /dev/flowmob/home
mount -t hostfs -o "${0%/*}/run" none /dev/flowmob/run
# Out of memory, a run can't be trusted: end the guest instead of one of its processes.
echo 1 > /proc/sys/vm/panic_on_oom
ip link set lo up
# The kernel cleans its neighbour tables for the first time at a random instant, 15 to 45 s after
# boot, and then every half base_reachable_time. In virtual time that is one more event that differs
# from run to run, and waiting until it is over costs nothing.
for family in ipv4 ipv6; do
    echo 86400000 > /proc/sys/net/$family/neigh/default/base_reachable_time_ms
done
[ -z "$FLOWMOB_VIRTUAL" ] || sleep 60
# mnexec closes every descriptor up to this limit each time it starts something.
ulimit -n 128
cd /dev/flowmob/home || exit 1
export HOME=/dev/flowmob/home TMPDIR=/dev/flowmob/home
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1
if [ -n "$FLOWMOB_TTY" ]; then
    exec <>"$FLOWMOB_TTY" >&0 2>&1
fi
"$FLOWMOB_PYTHON" -s -m "$FLOWMOB_MODULE" /dev/flowmob/run --power-off
# Only reached if that failed to start: ending the first process ends the guest.
echo "flowmob: $FLOWMOB_PYTHON -m $FLOWMOB_MODULE ended with status $?"
