#!/bin/sh
# mmdebstrap hook: takes out of the tree what was needed to make it only (usrmerge brought the whole of perl).
set -eu
set -f
installed=$(chroot "$1" dpkg-query -W -f '${db:Status-Status} ${Package}\n' $PACHON_PURGED 2>/dev/null |
    sed -n 's/^installed //p')
[ -z "$installed" ] || chroot "$1" dpkg --purge $installed
