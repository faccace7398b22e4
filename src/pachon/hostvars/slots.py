"""What roles of a service are told of its instances on a host, where rollouts have left some: ``<role>_slots``.

It takes the place of what the role's own module says, which is the definition's first release.
"""

from pachon.model.facility import Host, Site


def arguments(site: Site, host: Host, role: str) -> dict[str, object]:
    """By slot that is taken, its version and what its release tells the role; nothing where no rollout ever was."""
    own = [each for each in site.instances_by_host.get(host.name, ()) if role in each.arguments]
    taken = {each.slot: {"version": each.version, **each.arguments[role]} for each in own if each.version}
    return {f"{role}_slots": taken} if own else {}
