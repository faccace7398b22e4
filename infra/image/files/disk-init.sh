#!/bin/busybox sh
# First process of a machine that starts from its own disk: finds the root partition on the disk that the boot loader
# came from, checks it, and hands over to systemd.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
ROOT_TYPE=4f68bce3-e8cd-4db1-96e7-fbcaf984b709
LOADER=/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=0755 tmpfs /run
exec </dev/null >/dev/console 2>&1
. /usr/lib/pachon/load-modules.sh
mount -t efivarfs efivarfs /sys/firmware/efi/efivars 2>/dev/null
esp=
[ -e "$LOADER" ] && esp=$(dd if="$LOADER" bs=4 skip=1 2>/dev/null | tr -d '\0' | tr 'A-F' 'a-f')

# Prints "<disk> <device>" of the first partition whose entry $1 is $2 (on the disk $3, when given).
partition() {
    for uevent in /sys/class/block/*/partition; do
        device=/dev/$(basename "$(dirname "$uevent")")
        facts=$(blkid -p -o export "$device" 2>/dev/null)
        disk=$(echo "$facts" | sed -n 's/^PART_ENTRY_DISK=//p')
        if echo "$facts" | grep -qi "^PART_ENTRY_$1=$2\$" && [ "$disk" = "${3:-$disk}" ]; then
            echo "$disk $device"
            return
        fi
    done
}

root=
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    disk=
    if [ -n "$esp" ]; then
        found=$(partition UUID "$esp")
        disk=${found%% *}
    fi
    found=$(partition TYPE "$ROOT_TYPE" "$disk")
    [ -n "$found" ] || [ -n "$disk" ] || found=$(partition NAME pachon-root)
    root=${found#* }
    [ -n "$root" ] && break
    sleep 0.5
done
if [ -z "$root" ]; then
    echo "pachon: no root partition (GPT type $ROOT_TYPE) on any disk; restarting in 30 s"
    sleep 30
    reboot -f
fi
echo "pachon: root is $root"
e2fsck -p "$root" >/run/e2fsck.log 2>&1 || [ $? -le 2 ] || cat /run/e2fsck.log
mkdir -p /root
mount -t ext4 -o rw "$root" /root || { echo "pachon: $root cannot be mounted; restarting in 30 s"; sleep 30; reboot -f; }
umount /sys/firmware/efi/efivars 2>/dev/null
for place in proc sys dev run; do mount --move "/$place" "/root/$place"; done
exec switch_root /root /usr/lib/systemd/systemd
