"""The campaign that ``pachon up`` ends with: the one of the facility's files that says ``with_up: true``."""

from datetime import timedelta
from pathlib import Path

from pachon.batch import reading, running
from pachon.batch.campaign import Campaign
from pachon.batch.report import CampaignReport
from pachon.errors import Complaint, DefinitionError
from pachon.model.facility import Facility
from pachon.progress import Progress

PATIENCE = timedelta(minutes=4)
"""Shorter than by hand: people wait for ``up``."""


def campaign_of(folder: Path, facility: Facility) -> Campaign | None:
    """The campaign that belongs to ``up``; None where the facility has none.

    Raises:
        DefinitionError: a file is wrong, or two say that they are the one.
    """
    found = [reading.load(path, facility) for path in reading.files(folder)]
    chosen = [campaign for campaign in found if campaign.with_up]
    if len(chosen) > 1:
        first = chosen[0].file
        wrong = f"a second campaign is to be run with 'pachon up', beside {first}"
        raise DefinitionError([Complaint(campaign.file, 1, wrong, "keep one") for campaign in chosen[1:]])
    return chosen[0] if chosen else None


async def run_default(facility: Facility, folder: Path, state: Path, progress: Progress) -> CampaignReport | None:
    """The report of the facility's first campaign; None where there is none, or where it was done before.

    ``folder`` is the facility's. It is run the first time and whenever it was changed, and goes on where an earlier
    run was stopped. What fails of it is in the report.

    Raises:
        DefinitionError: its file is wrong.
        LeaseHeldError: somebody else is carrying it out.
    """
    campaign = campaign_of(folder, facility)
    if campaign is None:
        return None
    order = running.Order(campaign, facility, state, command="pachon up", patience=PATIENCE)
    return None if running.done_before(order, progress) is not None else await running.run(order, progress)
