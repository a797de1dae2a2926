"""The visitors of a real window: nearly each is new to the process, and has a browser of its own.

The values are what current browsers send. Their shares are rounded: most requests are for pages,
from Chromium, in a few languages; behind these comes a long tail.
"""

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

SIZE = 20_000
EXEMPT_NETWORK = "81.0.0.0/8"  # one entry: a list of one entry must cover a crowd

_ACCEPTS = {
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*"
    ";q=0.8,application/signed-exchange;v=b3;q=0.7": 46,  # Chromium
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": 24,  # Safari, Firefox
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8": 4,
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,"
    "image/svg+xml,*/*;q=0.8": 3,  # Firefox 128 to 131
    "*/*": 8,  # fetch(), scripts, most robots
    "application/json, text/plain, */*": 6,  # axios
    "application/json": 2,
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8": 4,
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5": 1,  # Safari
    "text/css,*/*;q=0.1": 2,
}
_LANGUAGES = {
    "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7": 170,
    "en-US,en;q=0.9": 160,
    "de-DE,de;q=0.9": 90,
    "en-US,en;q=0.5": 60,
    "de,en-US;q=0.7,en;q=0.3": 55,
    "de-DE": 50,
    "en-GB,en;q=0.9": 40,
    "en-GB,en-US;q=0.9,en;q=0.8": 30,
    "fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7": 35,
    "fr-FR,fr;q=0.9": 20,
    "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3": 12,
    "de-AT,de;q=0.9,en-US;q=0.8,en;q=0.7": 25,
    "de-CH,de;q=0.9,en;q=0.8": 18,
    "de-CH,de;q=0.9,fr;q=0.8,en;q=0.7,it;q=0.6": 6,
    "it-IT,it;q=0.9,en-US;q=0.8,en;q=0.7": 22,
    "it-IT,it;q=0.9": 14,
    "es-ES,es;q=0.9,en;q=0.8": 20,
    "es-ES,es;q=0.9": 12,
    "es-MX,es;q=0.9,en-US;q=0.8,en;q=0.7": 5,
    "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7": 22,
    "nl-NL,nl;q=0.9": 10,
    "nl-BE,nl;q=0.9,fr;q=0.8,en;q=0.7": 4,
    "pl-PL,pl;q=0.9,en-US;q=0.8,en;q=0.7": 18,
    "pl,en-US;q=0.7,en;q=0.3": 6,
    "cs-CZ,cs;q=0.9,en;q=0.8": 10,
    "pt-PT,pt;q=0.9,en;q=0.8": 5,
    "pt-BR,pt;q=0.9,en-US;q=0.8,en;q=0.7": 10,
    "tr-TR,tr;q=0.9,en-US;q=0.8,en;q=0.7": 12,
    "uk-UA,uk;q=0.9,ru;q=0.8,en-US;q=0.7,en;q=0.6": 10,
    "ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7": 8,
    "ar,en-US;q=0.9,en;q=0.8": 6,
    "he-IL,he;q=0.9,en-US;q=0.8,en;q=0.7": 3,
    "zh-CN,zh;q=0.9,en;q=0.8": 8,
    "zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7": 3,
    "ja,en-US;q=0.9,en;q=0.8": 5,
    "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7": 3,
    "sv-SE,sv;q=0.9,en-US;q=0.8,en;q=0.7": 6,
    "da-DK,da;q=0.9,en-US;q=0.8,en;q=0.7": 5,
    "hu-HU,hu;q=0.9,en-US;q=0.8,en;q=0.7": 4,
    "": 12,  # robots, monitoring
}
_EXEMPT = ip_network(EXEMPT_NETWORK)
_IPV6_SHARE = 0.4  # of requests, as large sites report it
_PROVIDERS = (0x2A02, 0x2A01, 0x2003, 0x2600)  # the first 16 bits of networks in use


def blocked_crowd() -> list[dict[str, str]]:
    """Return the fields by which the requests of so many visitors differ; no two crowds are alike.

    Each gate gets a crowd of its own: a cache of the process must not know it from another gate.
    """
    return [_visitor(_stranger()) for _ in range(SIZE)]


def exempt_crowd() -> list[dict[str, str]]:
    """Return the same for visitors of the exempt network."""
    chosen = random.sample(range(_EXEMPT.num_addresses), SIZE)
    return [_visitor(str(_EXEMPT[number])) for number in chosen]


def _visitor(address: str) -> dict[str, str]:
    return {
        "HTTP_X_FORWARDED_FOR": address,
        "HTTP_ACCEPT": _one_of(_ACCEPTS),
        "HTTP_ACCEPT_LANGUAGE": _one_of(_LANGUAGES),
    }


def _one_of(shares: dict[str, int]) -> str:
    return random.choices(list(shares), list(shares.values()))[0]


def _stranger() -> str:
    if random.random() < _IPV6_SHARE:
        return str(IPv6Address(random.choice(_PROVIDERS) << 112 | random.getrandbits(112)))
    while True:
        address = IPv4Address(random.getrandbits(32))
        if address.is_global and not address.is_multicast and address not in _EXEMPT:
            return str(address)
