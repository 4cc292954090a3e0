"""The calls of the store contract as bytes: derived from the contract's own signatures, so that a method more is no work here.

A call is a msgpack array of its arguments, a result what the method returns, a refusal the error's class, text and fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from idnode.store import errors
from idnode.store.base import Store, StoreError
from idnode.store.movable import Movable
from idnode.store.reads import SqliteReads

_OWN = frozenset({"wait_failure", "close"})
"""What each process does for itself."""


class Call:
    """One method of the contract that changes something."""

    def __init__(self, method: Callable[..., Any]) -> None:
        hints = get_type_hints(method)
        self._signature = inspect.signature(method)
        self._names = [each for each in self._signature.parameters if each != "self"]
        arguments: Any = tuple[tuple(hints[each] for each in self._names)]  # type: ignore[misc]
        self._arguments: msgspec.msgpack.Decoder[tuple[Any, ...]] = msgspec.msgpack.Decoder(arguments)
        self._result = msgspec.msgpack.Decoder(hints["return"])

    def encode(self, *args: Any, **kwargs: Any) -> msgspec.Raw:
        """The arguments of a call, as the method takes them."""
        bound = self._signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        return msgspec.Raw(msgspec.msgpack.encode([bound.arguments[each] for each in self._names]))

    def decode(self, content: msgspec.Raw) -> tuple[Any, ...]:
        """encode() undone."""
        return self._arguments.decode(content)

    def decode_result(self, content: msgspec.Raw) -> Any:
        """A result as the method returns it."""
        return self._result.decode(content)


def _changing() -> dict[str, Callable[..., Any]]:
    methods = dict(inspect.getmembers(Store, inspect.iscoroutinefunction)) | dict(
        inspect.getmembers(Movable, inspect.iscoroutinefunction)
    )
    return {
        name: each
        for name, each in methods.items()
        if not name.startswith("_") and name not in _OWN and not hasattr(SqliteReads, name)
    }


CALLS = {name: Call(method) for name, method in _changing().items()}
"""By name: all of Store that SqliteReads can't answer, and Movable."""

_ERRORS: dict[str, type[StoreError]] = {
    name: each for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, StoreError)
}


class _Refusal(msgspec.Struct, array_like=True):
    kind: str
    text: str
    fields: dict[str, msgspec.Raw]


def encode_error(error: Exception) -> msgspec.Raw:
    """An error of the contract, or a mistake of ours."""
    if not isinstance(error, StoreError):
        return msgspec.Raw(msgspec.msgpack.encode(_Refusal("", f"{type(error).__name__}: {error}", {})))
    fields = {name: msgspec.Raw(msgspec.msgpack.encode(value)) for name, value in vars(error).items()}
    return msgspec.Raw(msgspec.msgpack.encode(_Refusal(type(error).__name__, str(error), fields)))


def decode_error(content: msgspec.Raw) -> Exception:
    """encode_error() undone; a mistake is a RuntimeError."""
    refusal = msgspec.msgpack.decode(content, type=_Refusal)
    kind = _ERRORS.get(refusal.kind)
    if kind is None:
        return RuntimeError(refusal.text)
    error = kind.__new__(kind, refusal.text)
    # A field has the name and type of the parameter that it comes from.
    hints = get_type_hints(kind.__init__) if "__init__" in vars(kind) else {}
    for name, value in refusal.fields.items():
        setattr(error, name, msgspec.msgpack.decode(value, type=hints.get(name, Any)))
    return error
