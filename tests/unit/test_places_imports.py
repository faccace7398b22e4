"""Whatever Python of ours is started by a checkout imports that one, whichever its environment was installed from."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from pachon.places import CHECKOUT, imports

ENVIRONMENTS = """
import json
from pathlib import Path
from pachon.drivers.ansible import settings
from pachon.drivers.pulumi import Engine
here = Path.cwd()
engine = Engine(pulumi=here / "pulumi", state=here / "state")
print(json.dumps([engine._environment("r1", here / "run.json"), settings.environment(here / "work")]))
"""
WHERE = "import infra, pachon; print(*infra.__path__, *pachon.__path__)"


def said(*argv: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_engine_plug_in_and_plays_run_the_code_of_the_checkout_that_starts_them(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("infra", "src"):
        shutil.copytree(CHECKOUT / name, clone / name)
    (clone / "infra/provider/main.py").write_text("def main():\n    print(__file__)\n")
    told = said(
        sys.executable,
        "-c",
        ENVIRONMENTS,
        folder=tmp_path,
        environment={**imports(), "PYTHONPATH": f"{clone / 'src'}:{clone}", "HOME": str(tmp_path)},
    )
    engine, plays = json.loads(told)
    for environment in (engine, plays):
        where = said(sys.executable, "-c", WHERE, folder=CHECKOUT, environment=environment)
        assert where == f"{clone / 'infra'} {clone / 'src/pachon'}"
    plug_in = shutil.which("pulumi-resource-pachon", path=engine["PATH"])
    assert plug_in is not None
    assert said(plug_in, folder=CHECKOUT, environment=engine) == str(clone / "infra/provider/main.py")
