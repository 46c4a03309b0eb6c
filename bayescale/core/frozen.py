"""A mapping that can be a field of a hashable value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class FrozenMap[K, V](Mapping[K, V]):
    """An immutable, hashable mapping; equal to another when the items are equal, in whatever order."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)
