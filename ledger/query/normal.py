"""Filters in one form: negations at the leaves, nested AND and OR flattened, equal children once, in one order.

Two filters with the same normal form mean the same; cursors and manifests name a filter by it."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.query.ast import And, Everything, Node, Not, Nothing, Or

__all__ = ["normalize"]


def normalize(node: Node) -> Node:
    """An equivalent filter. Cost: O(n log n) in its leaves."""
    return _normal(node, negated=False)


def _normal(node: Node, *, negated: bool) -> Node:
    if isinstance(node, Not):
        return _normal(node.child, negated=not negated)
    if isinstance(node, Everything | Nothing):
        return Everything() if isinstance(node, Everything) != negated else Nothing()
    if isinstance(node, And | Or):
        children = [_normal(child, negated=negated) for child in node.children]
        return _joined(children, is_and=isinstance(node, And) != negated)
    return Not(node) if negated else node


def _joined(children: list[Node], *, is_and: bool) -> Node:
    kind: type[And | Or] = And if is_and else Or
    neutral, absorbing = (Everything, Nothing) if is_and else (Nothing, Everything)
    flat: dict[str, Node] = {}
    for child in _flattened(children, kind):
        if isinstance(child, absorbing):
            return child
        if not isinstance(child, neutral):
            flat[repr(child)] = child
    if any(isinstance(child, Not) and repr(child.child) in flat for child in flat.values()):
        return absorbing()  # a and not a; a or not a
    kept = [flat[key] for key in sorted(flat)]
    if len(kept) < 2:
        return kept[0] if kept else neutral()
    return kind(tuple(kept))


def _flattened(children: Iterable[Node], kind: type[And | Or]) -> Iterable[Node]:
    for child in children:
        if isinstance(child, kind):
            yield from child.children
        else:
            yield child
