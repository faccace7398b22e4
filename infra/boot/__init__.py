"""The boot service: hands a machine its deploy image, its identity and its OS image; takes back its host keys."""
