"""What goes into the images, as data: packages, what is left out, modules, programs of the deploy image.

Every value here is part of a cache key. Raise ``AS_OF`` to take up newer package versions: keys hold no date and no
version, so that the same checkout finds its images again on every day.
"""

from types import MappingProxyType

AS_OF = "2026-11-27"
SUITE = "bookworm"
EPOCH_SECONDS = 1795737600
"""All time stamps in the images: 2026-11-27T00:00:00Z."""

PACKAGES = (
    "acl",
    "btrfs-progs",
    "busybox-static",
    "ca-certificates",
    "chrony",
    "dbus",
    "dnsmasq-base",
    "dosfstools",
    "e2fsprogs",
    "ethtool",
    "fdisk",
    "haproxy",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "netbase",
    "nftables",
    "openssh-server",
    "openssl",
    "procps",
    "prometheus-node-exporter",
    "python3",
    "rsync",
    "sudo",
    "systemd",
    "systemd-journal-remote",
    "systemd-sysv",
    "tzdata",
    "udev",
    "ulogd2",
    "usr-is-merged",
    "util-linux",
    "xfsprogs",
    "zstd",
)
"""In every image. What is not for every host is here when it is small: then an image serves more hosts."""

PRUNED = (
    "/etc/update-motd.d/*",
    "/usr/bin/pzstd",
    "/usr/lib/udev/hwdb.d/*",
    "/usr/lib/x86_64-linux-gnu/libicu*",
    "/usr/sbin/xfs_scrub",
    "/usr/share/bug/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zoneinfo/*",
)
"""Paths that dpkg does not unpack. ICU comes in by xfs_scrub alone, which no host uses: whoever needs ICU takes both
lines out, or has its flavour in ``FLAVOUR_WHOLE``."""

PURGED = ("lib*-perl", "libgdbm*", "libperl5*", "perl", "perl-modules-*", "usrmerge")
"""Patterns of packages that are gone once ``usr-is-merged`` has replaced usrmerge, unless something needs them."""

KEPT = ("/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/Etc", "/usr/share/zoneinfo/Etc/UTC")

KERNEL_PACKAGE = "linux-image-cloud-amd64"
"""Enough for the lab and for virtual machines. Racks with SATA or with other NICs than Mellanox's take
``linux-image-amd64`` here: the rest follows, modules are chosen by folder."""
BOOT_PACKAGES = ("systemd-boot-efi",)

SERVER_ROLES = (
    "base",
    "people",
    "firewall",
    "time_client",
    "certificates",
    "log_client",
    "storage",
    "dns",
    "log_host",
    "front_door",
    "node_exporter",
)
"""Baked into every image: what they lay down is small and starts nothing."""

FLAVOURS = MappingProxyType(
    {
        "admin": (*SERVER_ROLES, "admin", "metrics"),
        "batch": (*SERVER_ROLES, "slurm_compute"),
        "batch_controller": (*SERVER_ROLES, "slurm_controller", "slurm_accounting"),
        "kubernetes": SERVER_ROLES,
        "server": SERVER_ROLES,
        "storage": (*SERVER_ROLES, "postgresql", "xrootd"),
        "switch": (*SERVER_ROLES, "switch"),
    }
)
"""Flavour of image to the roles whose ``tasks/image.yml`` is baked into it."""

FLAVOUR_PACKAGES = MappingProxyType(
    {
        "admin": ("mtools", "prometheus", "prometheus-blackbox-exporter"),
        "batch": ("munge", "python3-astropy", "slurm-client", "slurmd"),
        "batch_controller": (
            "mariadb-client-core",
            "mariadb-server-core",
            "munge",
            "slurm-client",
            "slurm-wlm-mysql-plugin",
            "slurmctld",
            "slurmdbd",
        ),
        "kubernetes": ("containerd", "containernetworking-plugins"),
        "storage": (
            "postgresql-15",
            "xrootd-client",
            "xrootd-client-plugins",
            "xrootd-plugins",
            "xrootd-server",
            "xrootd-server-plugins",
        ),
    }
)
"""Packages that a flavour has beyond those of all; they are installed into the tree of ``server``. MariaDB comes as its
core alone: the whole server brings perl and a second set of tools, and our role has a unit of its own."""

FLAVOUR_WHOLE = MappingProxyType({"storage": ("libicu72",)})
"""Packages of all images that a flavour wants whole, with what ``PRUNED`` leaves out elsewhere."""

FLAVOUR_PROGRAMS = MappingProxyType(
    {
        "kubernetes": {
            "kube": (
                "etcd",
                "etcdctl",
                "etcdutl",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubectl",
                "kubelet",
            )
        },
    }
)
"""Programs of ``infra/toolchain`` in a flavour's /usr/bin, each with further names that are links to it. They are built
when such an image is baked."""

FLAVOUR_CONTAINERS = MappingProxyType({"kubernetes": ("coredns", "pause")})
"""Images of containers that lie in a flavour's /usr/lib/pachon/containers, until a registry of the site has them."""

FLAVOUR_PRUNED = MappingProxyType(
    {
        "admin": (
            "/usr/share/fonts/*",
            "/usr/share/fonts-glyphicons/*",
            "/usr/share/javascript/*",
            "/usr/share/nodejs/*",
            "/usr/share/prometheus/web/*",
        ),
        "batch": (
            "/usr/lib/python3/dist-packages/*/tests/*",
            "/usr/lib/python3/dist-packages/_pytest/*",
            "/usr/lib/python3/dist-packages/coverage/*",
            "/usr/lib/python3/dist-packages/hypothesis/*",
            "/usr/lib/python3/dist-packages/numpy/f2py/*",
            "/usr/lib/python3/dist-packages/psutil/*",
            "/usr/lib/python3/dist-packages/pytest*",
            "/usr/share/javascript/*",
        ),
        "batch_controller": ("/usr/bin/innochecksum", "/usr/bin/mariadb-check", "/usr/bin/mariadb-upgrade"),
        "kubernetes": (
            "/usr/bin/containerd-shim",
            "/usr/bin/containerd-shim-runc-v1",
            "/usr/bin/containerd-stress",
            "/usr/lib/cni/*",
        ),
        "storage": (
            "/usr/bin/perl5*",
            "/usr/lib/postgresql/15/lib/bitcode/*",
            "/usr/lib/postgresql/15/lib/llvmjit*",
            "/usr/lib/systemd/system/logrotate.*",
            "/usr/lib/x86_64-linux-gnu/libLLVM*",
            "/usr/lib/x86_64-linux-gnu/libperl.so*",
            "/usr/lib/x86_64-linux-gnu/libz3.so*",
            "/usr/lib/x86_64-linux-gnu/perl/*",
            "/usr/share/perl/*",
            "/usr/share/perl5/*",
            "/usr/share/tcltk/*",
        ),
    }
)
"""Paths of those packages that are removed again: what tests numpy and astropy, tools that nobody calls, the pages of
Prometheus, which is asked by programs, what compiles queries in PostgreSQL, and perl, which is for scripts of Debian's
around programs."""
FLAVOUR_KEPT = MappingProxyType(
    {
        "batch": ("/usr/lib/python3/dist-packages/astropy/tests/*",),
        "kubernetes": ("/usr/lib/cni/bridge", "/usr/lib/cni/host-local", "/usr/lib/cni/loopback"),
    }
)
"""Astropy imports its test runner whenever it is imported; of the network plug-ins ours are three."""

ACCOUNTS = MappingProxyType({"munge": 901, "mysql": 902, "postgres": 904, "xrootd": 903})
"""System accounts with the same number in every image; Debian gives ``slurm`` 64030 itself."""

DISK_MODULE_FOLDERS = (
    "drivers/ata",
    "drivers/block",
    "drivers/hv",
    "drivers/nvme",
    "drivers/scsi",
    "drivers/virtio",
    "fs/efivarfs",
)
DISK_MODULES = (
    "drivers/char/hw_random/virtio-rng",
    "fs/nls/nls_ascii",
    "fs/nls/nls_cp437",
)
NETWORK_MODULE_FOLDERS = ("drivers/net/ethernet", "fs/fat")
NETWORK_MODULES = (
    "drivers/net/hyperv/hv_netvsc",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/net/vmxnet3/vmxnet3",
    "drivers/net/xen-netfront",
)
"""Modules in the initial RAM disks, with whatever they need: a machine that starts from its disk wants its disk, the
deploy image wants NICs as well."""
MODULES_LEFT_OUT = ("drbd", "fc", "fcoe", "iscsi", "libfc", "mtip32xx", "nvmet", "rbd", "scsi_debug", "target", "zram")

DEPLOY_PROGRAMS = (
    "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    "/usr/bin/lsblk",
    "/usr/bin/mount",
    "/usr/bin/partx",
    "/usr/bin/python3",
    "/usr/bin/ssh-keygen",
    "/usr/bin/tar",
    "/usr/bin/umount",
    "/usr/bin/zstd",
    "/usr/sbin/blkdiscard",
    "/usr/sbin/blkid",
    "/usr/sbin/dumpe2fs",
    "/usr/sbin/e2fsck",
    "/usr/sbin/mke2fs",
    "/usr/sbin/mkfs.fat",
    "/usr/sbin/resize2fs",
    "/usr/sbin/sfdisk",
    "/usr/sbin/tune2fs",
    "/usr/sbin/wipefs",
)
DISK_PROGRAMS = ("/usr/sbin/blkid", "/usr/sbin/e2fsck")
PYTHON_LEFT_OUT = (
    "__phello__",
    "cProfile",
    "concurrent/futures/process",
    "config-3.11-x86_64-linux-gnu",
    "curses",
    "dbm",
    "distutils",
    "doctest",
    "ensurepip",
    "idlelib",
    "lib-dynload/_codecs",
    "lib-dynload/_ctypes_test",
    "lib-dynload/_curses",
    "lib-dynload/_dbm",
    "lib-dynload/_sqlite",
    "lib-dynload/_test",
    "lib-dynload/_tkinter",
    "lib-dynload/_xx",
    "lib-dynload/nis",
    "lib-dynload/readline",
    "lib-dynload/xx",
    "lib2to3",
    "mailbox",
    "multiprocessing",
    "pdb",
    "pydoc",
    "pydoc_data",
    "sqlite3",
    "test",
    "tkinter",
    "turtle",
    "turtledemo",
    "unittest",
    "venv",
    "wsgiref",
    "xmlrpc",
)
