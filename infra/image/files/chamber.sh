#!/bin/sh
# Runs a program with the API file systems mounted in a tree. Called inside mount and process namespaces of its own
# (see chamber.py): whatever happens to it, nothing stays mounted and nothing goes on running.
set -eu
tree=$1
shift
if [ -n "$tree" ]; then
    mount -t proc proc "$tree/proc"
    mount -t tmpfs -o mode=0755,size=1m none "$tree/dev"
    for node in null zero full random urandom tty; do
        : >"$tree/dev/$node"
        mount --bind "/dev/$node" "$tree/dev/$node"
    done
    mount -t tmpfs -o mode=0755,size=16m none "$tree/run"
    mount -t tmpfs -o mode=1777,size=256m none "$tree/tmp"
fi
exec "$@"
