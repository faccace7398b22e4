#!/bin/sh
# mmdebstrap hook: downloads the kernel that the package named by PACHON_KERNEL stands for, and the boot stubs, into
# PACHON_DEBS, with the apt configuration and lists of the tree that is being made. They are never installed.
set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$PACHON_DEBS"
image=$(apt-cache depends "$PACHON_KERNEL" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p')
# shellcheck disable=SC2086
apt-get download -o APT::Sandbox::User=root "$image" $PACHON_BOOT_PACKAGES
