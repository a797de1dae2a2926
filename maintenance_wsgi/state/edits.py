"""Each change of the state as a pure function: from a snapshot to a snapshot.

A store may call a change again on a newer state, so that two operators at once lose nothing.
"""

from collections.abc import Sequence

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state.exemptions import Networks, parse_exemptions, render_exemptions
from maintenance_wsgi.state.flag import NO_END, Window, json_object, render_flag
from maintenance_wsgi.state.store import Snapshot

# Names of the blocks and commands that keep maintenance on, a list of strings. A flag without it
# was set by an operator, and no block may remove it.
_HOLDERS = "holders"


def enable(found: Snapshot, given: Window, networks: Networks | None) -> Snapshot:
    """Return the state with maintenance on, and with the given list unless it is None.

    Values that are not given are kept; `by` and `since` are written only if the flag has none. An
    operator's flag stays as it is if nothing else is given.
    """
    says_something = given != Window(by=given.by, since=given.since)
    flag = found.flag
    if says_something or flag is None or holders_of(found):
        flag = _merged(found, given)
    return replace_list(found._replace(flag=flag), networks)


def enable_plainly(found: Snapshot) -> Snapshot:
    """Return the state with maintenance on, and all else as it is."""
    return found._replace(flag=b"") if found.flag is None else found


def disable(found: Snapshot, networks: Networks | None) -> Snapshot:
    """Return the state with maintenance off, and with the given list unless it is None."""
    return replace_list(found._replace(flag=None), networks)


def replace_list(found: Snapshot, networks: Networks | None) -> Snapshot:
    """Return the state with the given list, or with its own if that is None."""
    if networks is None:
        return found
    return found._replace(exemptions=render_exemptions(networks))


def extend_list(found: Snapshot, networks: Networks) -> Snapshot:
    """Return the state with networks appended to the list, which must be readable."""
    if isinstance(found.exemptions, StateError):
        raise found.exemptions
    return replace_list(found, parse_exemptions(found.exemptions).networks + networks)


def hold(found: Snapshot, holder: str, given: Window, networks: Networks | None) -> Snapshot:
    """Return the state with maintenance on for a holder; unchanged if an operator set the flag.

    The values and the list are written only if maintenance was off.
    """
    holders = holders_of(found)
    if found.flag is None:
        if networks is not None and isinstance(found.exemptions, StateError):
            raise found.exemptions  # the block could not put the list back
        flag = _merged(found, given, [holder])
        return replace_list(found._replace(flag=flag), networks)
    if not holders:
        return found
    return found._replace(flag=_merged(found, Window(), [*holders, holder]))


def release(found: Snapshot, holder: str, lists: tuple[bytes, bytes] | None) -> Snapshot:
    """Return the state without a holder: with the last one, maintenance ends.

    Unchanged if the flag does not name the holder: an operator has switched maintenance off since
    then, or made it permanent. `lists` is the list that the holder found and the one it wrote: the
    former is put back if the latter is still in place.
    """
    holders = holders_of(found)
    if holder not in holders:
        return found
    remaining = [name for name in holders if name != holder]
    flag = _merged(found, Window(), remaining) if remaining else None
    if lists and found.exemptions == lists[1]:
        found = found._replace(exemptions=lists[0])
    return found._replace(flag=flag)


def holders_of(found: Snapshot) -> list[str]:
    """Return the names of the blocks and commands that keep maintenance on."""
    members = json_object(found.flag) if isinstance(found.flag, bytes) else None
    holders = (members or {}).get(_HOLDERS)
    return [name for name in holders if isinstance(name, str)] if isinstance(holders, list) else []


def _merged(found: Snapshot, given: Window, holders: Sequence[str] = ()) -> bytes:
    """Return the flag's bytes: its own members, unknown ones too, and the given values in place."""
    # Switching on must not depend on what stands in the way: an unreadable flag is replaced.
    members = (json_object(found.flag) if isinstance(found.flag, bytes) else None) or {}
    members.pop(_HOLDERS, None)
    signature = Window(by=given.by, since=given.since).members()
    values = {name: value for name, value in given.members().items() if name not in signature}
    held = {_HOLDERS: list(holders)} if holders else {}
    merged = signature | members | values | held
    if given.until == NO_END:
        del merged["until"]
    return render_flag(merged)
