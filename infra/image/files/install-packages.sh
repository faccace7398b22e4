#!/bin/sh
# Installs packages into a tree whose API file systems are mounted: install-packages.sh TREE PACKAGE...
# PACHON_SOURCES holds apt's lines, PACHON_ACCOUNTS name:number of accounts that get the same number in every image,
# PACHON_PRUNED the paths that are removed again (Python's packages compile all that they list, so dpkg must not leave
# them out), PACHON_KEPT those of them that stay, PACHON_WHOLE packages of the tree that get back what dpkg left out. No daemon is started, and nothing of this machine stays behind.
set -eu
set -f
tree=$1
shift
for account in $PACHON_ACCOUNTS; do
    name=${account%:*} number=${account#*:}
    chroot "$tree" groupadd --system --gid "$number" "$name"
    chroot "$tree" useradd --system --uid "$number" --gid "$name" --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin "$name"
done
printf '%s\n' "$PACHON_SOURCES" >"$tree/etc/apt/sources.list"
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
chmod 0755 "$tree/usr/sbin/policy-rc.d"
for name in hosts resolv.conf; do
    [ -e "$tree/etc/$name" ] || : >"$tree/etc/$name"
    mount --bind "/etc/$name" "$tree/etc/$name"
done
chroot "$tree" apt-get -q update
chroot "$tree" apt-get -q -y --no-install-recommends install "$@"
if [ -n "$PACHON_WHOLE" ]; then
    # shellcheck disable=SC2086
    chroot "$tree" apt-get -q -y --reinstall -o Dpkg::Options::=--path-include=/usr/lib/* install $PACHON_WHOLE
fi
chroot "$tree" apt-get clean
rm "$tree/usr/sbin/policy-rc.d"
kept=
for path in $PACHON_KEPT; do
    kept="$kept ! -path $tree$path"
done
for path in $PACHON_PRUNED; do
    # shellcheck disable=SC2086
    find "$tree/usr" -path "$tree$path" $kept -delete
done
