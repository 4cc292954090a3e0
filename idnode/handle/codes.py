"""Numbers of the Handle wire protocol (RFC 3652, 2.2; versions after it as deployed) and its limits. Pure."""

from __future__ import annotations

from enum import IntEnum, IntFlag

MOST_HANDLE_BYTES = 2048
MOST_VALUES = 2048
"""Of one handle."""
MOST_MESSAGE_BYTES = 262_144
"""Header, body and credential."""
MOST_ELEMENTS = 1_048_576
"""Of an array."""
PORT = 2641
VERSION = (2, 11)
OLDEST_VERSION = (2, 1)
OLD_VERSION = (2, 3)
"""What a peer speaks that doesn't say."""


class OpCode(IntEnum):
    """What a request asks for."""

    RESOLUTION = 1
    GET_SITE_INFO = 2
    CREATE_HANDLE = 100
    DELETE_HANDLE = 101
    ADD_VALUE = 102
    REMOVE_VALUE = 103
    MODIFY_VALUE = 104
    LIST_HANDLES = 105
    LIST_PREFIXES_OF_2002 = 106
    """As RFC 3652 has it."""
    RESPONSE_TO_CHALLENGE = 200
    VERIFY_CHALLENGE = 201
    HOME_PREFIX = 300
    UNHOME_PREFIX = 301
    LIST_PREFIXES = 302
    SESSION_SETUP = 400
    SESSION_TERMINATE = 401
    SESSION_EXCHANGEKEY = 402


class OpFlag(IntFlag):
    """How a request is to be answered."""

    AUTHORITATIVE = 0x80000000
    CERTIFY = 0x40000000
    ENCRYPT = 0x20000000
    RECURSIVE = 0x10000000
    CACHE_CERTIFIED = 0x08000000
    CONTINUES = 0x04000000
    KEEP_ALIVE = 0x02000000
    PUBLIC_ONLY = 0x01000000
    REQUEST_DIGEST = 0x00800000
    OVERWRITE = 0x00400000
    MINT_SUFFIX = 0x00200000
    DO_NOT_REFER = 0x00100000


class ResponseCode(IntEnum):
    """How a request ended."""

    SUCCESS = 1
    ERROR = 2
    SERVER_TOO_BUSY = 3
    PROTOCOL_ERROR = 4
    OPERATION_NOT_SUPPORTED = 5
    RECURSION_COUNT_TOO_HIGH = 6
    SERVER_BACKUP = 7
    """It takes no changes now."""
    HANDLE_NOT_FOUND = 100
    HANDLE_ALREADY_EXISTS = 101
    INVALID_HANDLE = 102
    VALUES_NOT_FOUND = 200
    VALUE_ALREADY_EXISTS = 201
    INVALID_VALUE = 202
    OUT_OF_DATE_SITE_INFO = 300
    NOT_RESPONSIBLE = 301
    SERVICE_REFERRAL = 302
    PREFIX_REFERRAL = 303
    INVALID_ADMIN = 400
    INSUFFICIENT_PERMISSIONS = 401
    AUTHENTICATION_NEEDED = 402
    AUTHENTICATION_FAILED = 403
    INVALID_CREDENTIAL = 404
    AUTHENTICATION_TIMEOUT = 405
    AUTHENTICATION_ERROR = 406
    SESSION_TIMEOUT = 500
    SESSION_FAILED = 501
    INVALID_SESSION_KEY = 502
    NEED_RSA_KEY = 503
    INVALID_SESSION_SETUP = 504
    SESSION_MESSAGE_REJECTED = 505


_BEFORE_2_5 = {
    ResponseCode.SERVER_BACKUP: ResponseCode.PREFIX_REFERRAL,
    ResponseCode.INVALID_VALUE: ResponseCode.VALUE_ALREADY_EXISTS,
}


def code_for(code: ResponseCode, version: tuple[int, int]) -> ResponseCode:
    """The code as a peer of that version knows it: before 2.5, 7 was 303 and 202 was 201."""
    return _BEFORE_2_5.get(code, code) if version < (2, 5) else code
