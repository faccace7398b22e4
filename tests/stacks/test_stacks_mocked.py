import asyncio
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, settings

from pachon.model.hardware import STACKS, Kind, StackName
from pachon.model.stack_documents import StackDocument
from tests.worlds import facility, images


class Engine(mocks.Mocks):
    """Answers as our provider would, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[mocks.MockResourceArgs] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.asked.append(args)
        return args.name, {**args.inputs, "seen": {"adopted": True}}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


@pytest.fixture
def engine() -> Iterator[Engine]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    answering = Engine()
    mocks.set_mocks(answering, project="pachon", stack="filed-base")
    yield answering
    settings.reset_options()
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("by_hand", [False, True], ids=["inline", "main"])
def test_a_stack_declares_what_the_definition_says_and_exports_one_typed_document(
    name: StackName, by_hand: bool, engine: Engine, tmp_path: Path
) -> None:
    whole = facility(hosts=2, switches=1, volumes=1)
    exported: dict[str, Any] = {}

    def program() -> None:
        if by_hand:
            given = tmp_path / "arguments.json"
            given.write_text(
                json.dumps(
                    {
                        "facility": whole.model_dump(mode="json"),
                        "site": "base",
                        "images": {flavour: facts.model_dump() for flavour, facts in images().items()},
                    }
                )
            )
            pulumi.runtime.set_config("pachon:arguments", str(given))
            runpy.run_module(f"stacks.{name}", run_name="__main__", alter_sys=False)
        else:
            module = __import__(f"stacks.{name}", fromlist=["program"])
            module.program(whole, "base", images())

    @pulumi.runtime.test  # type: ignore[untyped-decorator]  # the SDK has no types there
    def whole_stack() -> pulumi.Output[None]:
        program()
        return pulumi.Output.from_input(exported.pop("output")).apply(lambda found: exported.update(document=found))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "export", lambda key, value: exported.update(output=value))
        whole_stack()
    document = StackDocument.model_validate_json(exported["document"])
    assert (document.stack, document.site, document.facility) == (name, "base", "filed")
    counts = [len(document.machines), len(document.hosts), len(document.networks), len(document.volumes)]
    assert counts == {"network": [1, 1, 1, 0], "compute": [2, 2, 0, 0], "storage": [0, 0, 0, 1]}[name]
    ours = [args for args in engine.asked if args.typ in set(Kind)]
    assert len(ours) == sum(counts)
    assert all(args.inputs["generation"] and args.inputs["address"] == args.name for args in ours)
    assert "password" not in json.dumps([dict(args.inputs) for args in ours])
