"""The campaign that ``pachon up`` ends with: the one of the facility's files that says ``with_up: true``."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pachon.batch import reading
from pachon.batch.campaign import Campaign
from pachon.errors import Complaint, DefinitionError
from pachon.model.facility import Facility
from pachon.progress import Progress

if TYPE_CHECKING:
    from pachon.batch.report import CampaignReport

PATIENCE = timedelta(minutes=4)
"""Shorter than by hand: people wait for ``up``."""


def complaints_about_campaigns(folder: Path, facility: Facility) -> tuple[Complaint, ...]:
    """Everything that is wrong with the campaigns of a facility."""
    return _examined(folder, facility)[1]


def campaign_of(folder: Path, facility: Facility) -> Campaign | None:
    """The campaign that belongs to ``up``; None where the facility has none.

    Raises:
        DefinitionError: a campaign's file is wrong, or two say that they are the one.
    """
    chosen, complaints = _examined(folder, facility)
    if complaints:
        raise DefinitionError(complaints)
    return chosen


def _examined(folder: Path, facility: Facility) -> tuple[Campaign | None, tuple[Complaint, ...]]:
    chosen: Campaign | None = None
    complaints: list[Complaint] = []
    for path in reading.files(folder):
        campaign, found = reading.examine(path, facility)
        complaints += found
        if campaign is None or not campaign.with_up:
            continue
        if chosen is not None:
            wrong = f"a second campaign is to be run with 'pachon up', beside {chosen.file}"
            complaints.append(Complaint(campaign.file, 1, wrong, "let one of them be with_up: false"))
        chosen = chosen or campaign
    return chosen, tuple(sorted(complaints))


async def run_default(facility: Facility, folder: Path, state: Path, progress: Progress) -> "CampaignReport | None":
    """The report of the facility's first campaign; None where there is none, or where it was done before.

    ``folder`` is the facility's. It is run the first time and whenever it was changed, and goes on where an earlier
    run was stopped. What fails of it is in the report.

    Raises:
        DefinitionError: its file is wrong.
        LeaseHeldError: somebody else is carrying it out.
    """
    from pachon.batch import running

    campaign = campaign_of(folder, facility)
    if campaign is None:
        return None
    order = running.Order(campaign, facility, state, command="pachon up", patience=PATIENCE)
    return None if running.done_before(order, progress) is not None else await running.run(order, progress)
