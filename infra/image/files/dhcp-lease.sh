#!/bin/busybox sh
# What busybox' udhcpc does with a lease: the address and the route, and the lease's facts for whoever asked.
case "$1" in
deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface"
        break
    done
    mkdir -p /run/pachon
    printf 'interface=%s\nip=%s\nmask=%s\nrouter=%s\nserverid=%s\n' \
        "$interface" "$ip" "$mask" "$router" "$serverid" >/run/pachon/lease
    ;;
esac
exit 0
