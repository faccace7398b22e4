"""The five tasks of ``role``, as pyinfra writes them."""

from pathlib import Path

from pyinfra import host  # type: ignore[import-not-found]  # it has a virtual environment of its own
from pyinfra.operations import files  # type: ignore[import-not-found]

ROLE = Path(__file__).parent / "role"
NAME = host.data.certificates_name
FOLDER = f"/srv/{NAME}"

files.directory(name="Make the folder", path=FOLDER, mode="755")
files.template(
    name="Write the settings",
    src=str(ROLE / "templates" / "settings.conf.j2"),
    dest=f"{FOLDER}/settings.conf",
    mode="644",
    certificates_name=NAME,
)
files.put(name="Put the tool there", src=str(ROLE / "files" / "tool.sh"), dest=f"{FOLDER}/tool", mode="755")
files.link(name="Link to the settings", path=f"{FOLDER}/current", target="settings.conf")
files.file(name="Leave no settings of old", path=f"{FOLDER}/settings.old", present=False)
