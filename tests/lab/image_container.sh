#!/bin/sh
# Boots a root image as a container. Called in mount and network namespaces of its own, which take every mount with them.
#   image_container.sh IMAGE PLACE KEYS     KEYS has host, ca.pub
set -eu
image=$1 place=$2 keys=$3
mount -o loop "$image" "$place"
cp "$keys/host" "$place/etc/ssh/ssh_host_ed25519_key"
cp "$keys/ca.pub" "$place/etc/ssh/pachon/user_ca.pub"
echo "127.0.0.1 localhost image-test" >"$place/etc/hosts"
echo image-test >"$place/etc/hostname"
ip link set lo up
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
exec systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$place" --machine=image-test \
    --capability=all --system-call-filter=@known --resolv-conf=off --timezone=off --link-journal=no --console=read-only
