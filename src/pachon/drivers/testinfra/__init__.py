"""testinfra over the fleet: a pytest plug-in that runs the tests of roles on the hosts that carry them.

By hand: ``pytest -p pachon.drivers.testinfra.plugin --facility lab playbooks/roles/*/tests``.
"""
