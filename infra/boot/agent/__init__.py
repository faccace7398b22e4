"""Makes the machine it runs on into the host that the boot service orders; runs in the deploy image, nowhere else.

Standard library only; imports are relative, for in the deploy image this folder is a package of its own. It proves
serial and token, prepares exactly the disk it is told, writes the image by digest, makes the host keys here, and
restarts. It never sets the clock. A half-written disk cannot boot: its root partition gets the type that boot loaders
look for as the very last thing.
"""
