# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show of its certificate."""

from testinfra.host import Host

FOLDER = "/etc/pachon/pki"


def test_the_certificate_is_from_an_authority_that_the_host_believes(host: Host) -> None:
    checked = host.run(f"openssl verify -x509_strict -CAfile {FOLDER}/trust.pem {FOLDER}/host.crt")
    assert checked.rc == 0, checked.stdout + checked.stderr


def test_the_certificate_is_of_the_hosts_own_key(host: Host) -> None:
    shown = host.check_output(f"openssl x509 -in {FOLDER}/host.crt -noout -pubkey")
    assert shown == host.check_output(f"sudo -n openssl pkey -in {FOLDER}/host.key -pubout")


def test_the_certificate_bears_the_hosts_name(host: Host) -> None:
    own = host.check_output("hostname").partition(".")[0]
    said = host.check_output(f"openssl x509 -in {FOLDER}/host.crt -noout -checkhost {own}")
    assert "does match" in said


def test_only_its_group_reads_the_key(host: Host) -> None:
    key = host.file(f"{FOLDER}/host.key")
    assert (key.user, key.group, key.mode) == ("root", "pachon-pki", 0o640)


def test_the_certificate_has_some_life_left(host: Host) -> None:
    assert host.run(f"openssl x509 -in {FOLDER}/host.crt -noout -checkend 604800").rc == 0
