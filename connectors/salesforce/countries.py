"""Country names as people type them into a CRM, to ISO 3166 alpha-2.

Only for organisations without state and country picklists, where ``BillingCountry`` is free text.
Settings add or override names; an unknown name gives None, which validation then reports.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_COUNTRIES: Mapping[str, str] = {
    "argentina": "AR",
    "australia": "AU",
    "austria": "AT",
    "bahrain": "BH",
    "belgium": "BE",
    "brazil": "BR",
    "bulgaria": "BG",
    "canada": "CA",
    "chile": "CL",
    "china": "CN",
    "colombia": "CO",
    "croatia": "HR",
    "cyprus": "CY",
    "czech republic": "CZ",
    "czechia": "CZ",
    "denmark": "DK",
    "egypt": "EG",
    "england": "GB",
    "estonia": "EE",
    "finland": "FI",
    "france": "FR",
    "germany": "DE",
    "great britain": "GB",
    "greece": "GR",
    "holland": "NL",
    "hong kong": "HK",
    "hungary": "HU",
    "iceland": "IS",
    "india": "IN",
    "indonesia": "ID",
    "ireland": "IE",
    "israel": "IL",
    "italy": "IT",
    "japan": "JP",
    "jordan": "JO",
    "kenya": "KE",
    "korea, republic of": "KR",
    "kuwait": "KW",
    "latvia": "LV",
    "liechtenstein": "LI",
    "lithuania": "LT",
    "luxembourg": "LU",
    "malaysia": "MY",
    "malta": "MT",
    "mexico": "MX",
    "morocco": "MA",
    "netherlands": "NL",
    "the netherlands": "NL",
    "new zealand": "NZ",
    "nigeria": "NG",
    "northern ireland": "GB",
    "norway": "NO",
    "oman": "OM",
    "pakistan": "PK",
    "peru": "PE",
    "philippines": "PH",
    "poland": "PL",
    "portugal": "PT",
    "qatar": "QA",
    "romania": "RO",
    "saudi arabia": "SA",
    "scotland": "GB",
    "serbia": "RS",
    "singapore": "SG",
    "slovakia": "SK",
    "slovenia": "SI",
    "south africa": "ZA",
    "south korea": "KR",
    "spain": "ES",
    "sweden": "SE",
    "switzerland": "CH",
    "taiwan": "TW",
    "thailand": "TH",
    "tunisia": "TN",
    "turkey": "TR",
    "türkiye": "TR",
    "uae": "AE",
    "ukraine": "UA",
    "united arab emirates": "AE",
    "united kingdom": "GB",
    "uk": "GB",
    "united states": "US",
    "united states of america": "US",
    "usa": "US",
    "uruguay": "UY",
    "vietnam": "VN",
    "wales": "GB",
}


def country_code(name: str | None, more: Mapping[str, str]) -> str | None:
    """ISO 3166 alpha-2 of a country name or code; None when unknown.

    Args:
        name: what the CRM holds.
        more: names from settings in lower case; they win over the defaults.
    """
    words = " ".join((name or "").split()).casefold()
    if not words:
        return None
    if words in more:
        return more[words]
    if words in DEFAULT_COUNTRIES:
        return DEFAULT_COUNTRIES[words]
    return words.upper() if len(words) == 2 and words.isascii() and words.isalpha() else None
