# ruff: noqa: D103  a test says in its name what would be broken
"""What an endpoint of the Data Backbone must show."""

from typing import Any

import pytest
from testinfra.host import Host

HTTP_PORT, READ_PORT = 8443, 1095


@pytest.mark.parametrize("way", ["read", "write"])
def test_it_runs_and_starts_again_by_itself(host: Host, way: str) -> None:
    assert host.service(f"pachon-backbone@{way}").is_running
    assert host.service(f"pachon-backbone@{way}").is_enabled
    assert host.check_output("systemctl show %s -p Restart --value", f"pachon-backbone@{way}") == "always"


def test_what_is_written_here_comes_back_each_way_also_while_the_site_is_cut_off(host: Host) -> None:
    tried = host.run("sudo -n /usr/libexec/pachon/backbone-smoke --here")
    assert tried.rc == 0, tried.stderr


def test_nobody_reads_without_the_key_or_a_certificate(host: Host, arguments: dict[str, Any]) -> None:
    address = arguments["xrootd_address"]
    stranger = "timeout 60 env XRD_CONNECTIONRETRY=1 XrdSecSSSKT=/nonexistent xrdfs root://%s ls /"
    assert "Auth failed" in host.run(stranger, address).stderr
    ask = (
        "import http.client, ssl; "
        "trust = ssl.create_default_context(cafile='/etc/pachon/pki/trust.pem'); "
        f"link = http.client.HTTPSConnection('{address}', {HTTP_PORT}, timeout=30, context=trust); "
        "link.request('GET', '/smoke'); print(link.getresponse().status)"
    )
    assert host.run("python3 -c %s", ask).stdout.strip() == "403"


def test_where_users_read_nobody_writes_not_even_with_the_key(host: Host, arguments: dict[str, Any]) -> None:
    own = f"root://{arguments['xrootd_address']}:{READ_PORT}"
    key = "XrdSecPROTOCOL=sss XrdSecSSSKT=/etc/xrootd/backbone.keytab"
    tried = host.run(f"sudo -n env {key} timeout 60 xrdfs %s mkdir /smoke/no", own)
    assert tried.rc != 0
    assert host.run("timeout 60 xrdfs %s ls /", own).rc == 0


def test_the_key_is_for_nobody_else(host: Host) -> None:
    keys = host.check_output(
        "sudo -n stat -c '%U %a' /etc/xrootd/backbone.keytab /run/pachon-backbone-write/host.key"
    ).splitlines()
    assert keys == ["xrootd 400"] * 2
