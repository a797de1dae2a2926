"""Each change of the state as a pure function: from a snapshot to a snapshot.

A store may call a change again on a newer state, so that two operators at once lose nothing.
"""

from collections.abc import Sequence

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state.exemptions import Networks, append_to, cut_from, render_exemptions
from maintenance_wsgi.state.flag import TAKES_BACK, Window, json_object, parse_flag, render_flag
from maintenance_wsgi.state.store import Snapshot

# Names of the blocks and commands that keep maintenance on, a list of strings. A flag without it
# was set by an operator, and no block may remove it.
_HOLDERS = "holders"


def enable(found: Snapshot, given: Window, networks: Networks | None, added: Networks) -> Snapshot:
    """Return the state with maintenance on, and with the given list unless it is None.

    Values that are not given are kept, but a new message drops the translations of the old one.
    `by` and `since` are written only if the flag has none. An operator's valid flag stays as it is
    if nothing else is given. `added` extends the list.
    """
    says_something = given != Window(by=given.by, since=given.since)
    flag = found.flag
    is_faulty = isinstance(flag, bytes) and parse_flag(flag)[1]
    if says_something or flag is None or is_faulty or holders_of(found):
        flag = _merged(found, given)
    found = replace_list(found._replace(flag=flag), networks)
    return extend_list(found, added) if added else found


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
    return found._replace(exemptions=append_to(list_of(found), networks))


def remove_from_list(found: Snapshot, networks: Networks) -> Snapshot:
    """Return the state with networks cut from the list, which must be readable and hold them."""
    return found._replace(exemptions=cut_from(list_of(found), networks))


def list_of(found: Snapshot) -> bytes:
    """Return the bytes of the list; raise StateError if it cannot be read."""
    if isinstance(found.exemptions, StateError):
        raise found.exemptions
    return found.exemptions


def hold(found: Snapshot, holder: str, given: Window, networks: Networks | None) -> Snapshot:
    """Return the state with maintenance on for a holder; unchanged if an operator set the flag.

    The values and the list are written only if maintenance was off.
    """
    holders = holders_of(found)
    if found.flag is None:
        if networks is not None:
            list_of(found)  # an unreadable one could not be put back
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
    data = found.flag if isinstance(found.flag, bytes) else b""
    valid, _ = parse_flag(data)
    members = {
        name: value
        for name, value in (json_object(data) or {}).items()
        if name != _HOLDERS and getattr(valid, name, value) is not None
    }
    signature = Window(by=given.by, since=given.since).members()
    values = {name: value for name, value in given.members().items() if name not in signature}
    held = {_HOLDERS: list(holders)} if holders else {}
    merged = signature | members | values | held
    if messages := _messages(valid, given):
        merged["messages"] = messages
    else:
        merged.pop("messages", None)
    for name, nothing in TAKES_BACK.items():
        if getattr(given, name) == nothing:
            del merged[name]
    return render_flag(merged)


def _messages(found: Window, given: Window) -> dict[str, str]:
    """Return the translations: an earlier message's are wrong, and an empty one is taken back.

    Two tags are the same if they differ only in case (RFC 5646, section 2.1.1).
    """
    kept = found.messages if given.message is None else None
    pairs = [*(kept or {}).items(), *(given.messages or {}).items()]
    spellings = {tag.lower(): tag for tag, _ in reversed(pairs)}
    texts = {tag.lower(): text for tag, text in pairs}
    return {spellings[tag]: text for tag, text in texts.items() if text}
