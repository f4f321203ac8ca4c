"""The chain you write: ``flow.to(ask).to(commit)``.

A ``Process`` stands at a place in the graph (a source) inside a block (a for_each body, a case). Every method adds to
the flow's graph and returns the process that stands at the new place. Misuse is refused where it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition import deprecated, sub_flow
from triggerflow_django.definition.chunk import Chunk, ChunkOptions, is_lambda
from triggerflow_django.definition.graph import ELSE, TRIGGER_TYPES, Draft, GraphBuilder, Source
from triggerflow_django.definition.intervention import InterventionPoint
from triggerflow_django.definition.sub_flow import SubFlow, SubFlowMethods

Attachable = Any  # a function, a chunk, the name of a chunk, a flow, or (name, function or flow)
_COLLECT_MODES: Final = ("filled_and_update", "filled_then_empty")


@dataclass(frozen=True, slots=True)
class Block:
    """An open for_each or match around the place a process stands at."""

    kind: Literal["for_each", "match"]
    draft: Draft
    parent: Block | None
    #: The case of the enclosing match this block was opened in.
    outer_slot: str | None


class Process(SubFlowMethods):
    """A place in a flow to which more can be attached."""

    def __init__(
        self,
        builder: GraphBuilder,
        source: Source | None,
        *,
        owner: str,
        root: str,
        block: Block | None = None,
        slot: str | None = None,
    ) -> None:
        self._builder = builder
        self._source = source  # None: inside a match, before its first case
        self._owner = owner
        self._root = root
        self._block = block
        self._slot = slot  # the branch of the innermost match this process stands in

    # -- chunks

    def to(self, chunk: Attachable, side_branch: bool = False, name: str | None = None) -> Process:
        """Run a chunk with the value of this place; go on with what it returns.

        Takes a function, a chunk, the name of an existing chunk, ``(name, function)``, or another flow (see
        ``to_sub_flow``). With ``side_branch=True`` the
        returned process still stands here.

        Raises: UnknownChunkError for a name the flow does not have; DefinitionError where a chunk would follow itself.
        """
        source = self._standing("to")
        attached = self._attach(chunk, name)
        self._refuse_following_itself(source, attached)
        self._builder.connect(source, attached.id)
        return self if side_branch else self._at(("done", attached.id), owner=attached.id)

    def side_branch(self, chunk: Attachable, name: str | None = None) -> Process:
        """Run a chunk with the value of this place, and stay here."""
        return self.to(chunk, side_branch=True, name=name)

    def intervention_point(self, name: str | None = None, target: str | None = None) -> Process:
        """A boundary at which pending interventions are inserted, those whose target is the same (``None``: those
        without one); the value passes on.
        """
        wanted = name or self._builder.numbered(self._owner, "intervention_point")
        return self.to((wanted, InterventionPoint(target)))

    def end(self) -> Process:
        """Deprecated: the value of this place becomes the final result, unless ``data.set_result`` gives one."""
        deprecated.warn("end()", "write the result into the state")
        return self.to(("end", deprecated.end))

    def ____(self, *_args: object, **_kwargs: object) -> Process:
        """Nothing: a visual separator in a long chain."""
        return self

    # -- fan-outs

    def batch(self, *chunks: Attachable, side_branch: bool = False, concurrency: int | None = None) -> Process:
        """Run several chunks with the same value; go on with ``{chunk name: value}`` in declaration order, once all are
        done.

        ``concurrency`` bounds how many of them run at once.
        """
        source = self._standing("batch")
        if not chunks:
            raise exceptions.DefinitionError("batch() needs at least one chunk")
        batch = self._builder.add("batch", self._builder.numbered(self._owner, "batch"))
        batch.concurrency = _concurrency(concurrency)
        end = self._builder.add("end", f"{batch.id}/end", partner=batch.id)
        batch.partner = end.id
        self._builder.connect(source, batch.id)
        inner = self._at(None, owner=batch.id)
        for index, item in enumerate(chunks):
            attached = inner._attach(item, None)
            self._refuse_following_itself(source, attached)
            if attached.name in batch.slots:
                raise exceptions.DefinitionError(
                    f"two branches of a batch are called {attached.name!r} and would overwrite each other's result; "
                    f'give one a name: ("other name", function)'
                )
            batch.slots.append(attached.name)
            self._builder.connect(("branch", f"{batch.id}/{index}"), attached.id)
            self._builder.connect(("done", attached.id), end.id, attached.name)
        return self if side_branch else self._at(("fired", end.id), owner=end.id)

    def for_each(self, concurrency: int | None = None) -> Process:
        """Run the chain up to ``end_for_each()`` once per item of a list (anything else counts as one item)."""
        source = self._standing("for_each")
        loop = self._builder.add("for_each", self._builder.numbered(self._owner, "for_each"))
        loop.concurrency = _concurrency(concurrency)
        end = self._builder.add("end", f"{loop.id}/end", partner=loop.id)
        loop.partner = end.id
        self._builder.connect(source, loop.id)
        block = Block("for_each", loop, self._block, self._slot)
        return Process(self._builder, ("item", loop.id), owner=loop.id, root=self._root, block=block)

    def end_for_each(self) -> Process:
        """Join the items again: go on with the list of their values, in the order of the items."""
        block = self._open_block("for_each", "end_for_each")
        self._builder.connect(self._standing("end_for_each"), block.draft.partner)
        return self._after(block)

    # -- choices

    def match(self, mode: Literal["hit_first", "hit_all"] = "hit_first") -> Process:
        """Choose by ``case``: the first that holds (``hit_first``), or all that hold (``hit_all``: a list of their
        values).
        """
        source = self._standing("match")
        if mode not in ("hit_first", "hit_all"):
            raise exceptions.DefinitionError(f"match(mode={mode!r}): use 'hit_first' or 'hit_all'")
        choice = self._builder.add("match", self._builder.numbered(self._owner, "match"), mode=mode)
        end = self._builder.add("end", f"{choice.id}/end", partner=choice.id)
        choice.partner = end.id
        self._builder.connect(source, choice.id)
        block = Block("match", choice, self._block, self._slot)
        return Process(self._builder, None, owner=choice.id, root=self._root, block=block)

    def case(self, condition: Any) -> Process:
        """A branch for values that equal ``condition``, or for which ``condition(data)`` is truthy (it may be
        async).
        """
        block = self._open_block("match", "case")
        if block.draft.has_else:
            raise exceptions.MisplacedBlockError("case() after case_else(): the else branch comes last")
        self._close_branch(block)
        block.draft.conditions.append(condition)
        return self._branch(block, str(len(block.draft.conditions) - 1))

    def case_else(self) -> Process:
        """The branch for values no case holds for."""
        block = self._open_block("match", "case_else")
        if not block.draft.conditions or block.draft.has_else:
            raise exceptions.MisplacedBlockError("case_else() comes once, after at least one case()")
        self._close_branch(block)
        block.draft.has_else = True
        return self._branch(block, ELSE)

    def end_match(self) -> Process:
        """Join the branches again. Where no case held and there is no else, the value passes unchanged."""
        block = self._open_block("match", "end_match")
        if not block.draft.conditions:
            raise exceptions.MisplacedBlockError("end_match() without a case()")
        self._close_branch(block)
        return self._after(block)

    def if_condition(self, condition: Any) -> Process:
        """``match().case(condition)``."""
        return self.match().case(condition)

    def elif_condition(self, condition: Any) -> Process:
        """``case(condition)``."""
        return self.case(condition)

    def else_condition(self) -> Process:
        """``case_else()``."""
        return self.case_else()

    def end_condition(self) -> Process:
        """``end_match()``."""
        return self.end_match()

    # -- joins by name and by event

    def collect(
        self,
        collection: str,
        branch_id: str | None = None,
        mode: Literal["filled_and_update", "filled_then_empty"] | None = None,
    ) -> Process:
        """Join named branches of this chain root: fires with ``{branch_id: value}`` once every declared branch has a
        value.

        ``filled_and_update`` (default) fires again on every later value; ``filled_then_empty`` starts anew.
        """
        source = self._standing("collect")
        if mode is not None and mode not in _COLLECT_MODES:
            raise exceptions.DefinitionError(f"collect(mode={mode!r}): use one of {', '.join(_COLLECT_MODES)}")
        for text in (collection, *([] if branch_id is None else [branch_id])):
            if not jsongate.is_name(text):
                raise exceptions.DefinitionError(f"collect({text!r}): give a text of 1 to 200 characters")
        draft = self._builder.collections.get((self._root, collection))
        if draft is None:
            node_id = f"{self._root}/collect({collection})" if self._root else f"collect({collection})"
            draft = self._builder.collections[self._root, collection] = self._builder.add("collect", node_id)
        if mode is not None and draft.mode and draft.mode != mode:
            raise exceptions.DefinitionError(f"collect({collection!r}): declared with mode {draft.mode!r} before")
        draft.mode = mode or draft.mode
        slot = branch_id if branch_id is not None else self._owner
        if slot not in draft.slots:
            draft.slots.append(slot)
        self._builder.changed()
        self._builder.connect(source, draft.id, slot)
        return self._at(("fired", draft.id), owner=draft.id)

    def when(self, triggers: Any, mode: Literal["and", "or", "simple_or"] = "and") -> Process:
        """A new chain that starts at an event, a chunk's end, a written state key, or several of them.

        ``triggers``: a name, a chunk, a list of those, or ``{"event": ..., "runtime_data": ..., "flow_data": ...}``.
        Several with ``and`` wait for all; ``or`` passes ``[type, name, value]`` of each; ``simple_or`` passes each
        value.
        """
        if mode not in ("and", "or", "simple_or"):
            raise exceptions.DefinitionError(f"when(mode={mode!r}): use 'and', 'or' or 'simple_or'")
        named = self._triggers(triggers)
        text = ",".join(slot for slot, _ in named)
        if len(named) == 1 and mode == "and":
            root = self._builder.unique_root(f"when({text})")
            return Process(self._builder, named[0][1], owner=root, root=root)
        draft = self._builder.add("when", f"when({text})" if mode == "and" else f"when({mode}:{text})", mode=mode)
        for slot, source in named:
            draft.slots.append(slot)
            self._builder.connect(source, draft.id, slot)
        return Process(self._builder, ("fired", draft.id), owner=draft.id, root=draft.id)

    # -- inside

    def _triggers(self, triggers: Any) -> list[tuple[str, Source]]:
        wanted: list[tuple[str, Any]] = []
        if isinstance(triggers, Mapping):
            for kind, names in triggers.items():
                if kind not in TRIGGER_TYPES:
                    raise exceptions.DefinitionError(
                        f"when({{{kind!r}: ...}}): use {', '.join(TRIGGER_TYPES)}; join a collect() by chaining "
                        ".to() to it"
                    )
                wanted += [(kind, name) for name in _listed(names)]
        else:
            wanted += [("event", name) for name in _listed(triggers)]
        found: dict[str, Source] = {}
        for kind, name in wanted:
            slot, source = self._trigger(kind, name)
            found[slot] = source
        if not found:
            raise exceptions.DefinitionError("when() needs at least one trigger")
        return list(found.items())

    def _trigger(self, kind: str, name: Any) -> tuple[str, Source]:
        if kind == "event":
            chunk = self._builder.named_chunk(name) if isinstance(name, str) else name
            if isinstance(chunk, Chunk) or (callable(chunk) and not is_lambda(chunk)):
                attached = self._attach(chunk, None)
                return f"event:{attached.name}", ("done", attached.id)
        if not jsongate.is_name(name):
            raise exceptions.DefinitionError(f"when({name!r}): give an event's name, a chunk or a state key")
        return f"{kind}:{name}", (kind, name)

    def _attach(self, item: Attachable, name: str | None) -> Chunk | SubFlow:
        if isinstance(item, str):
            known = self._builder.named_chunk(item)
            if known is None:
                raise exceptions.UnknownChunkError(f"flow {self._builder.name!r} has no chunk named {item!r}")
            return known
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[0], str):  # noqa: PLR2004
                raise exceptions.DefinitionError(f"{item!r}: write (name, function)")
            name, item = item
        if sub_flow.is_flow(item):
            return sub_flow.attach(self._builder, item, owner=self._owner, name=name)
        if isinstance(item, Chunk):
            if self._builder.drafts.get(item.id) is None or self._builder.drafts[item.id].chunk is not item:
                return self._builder.chunk(
                    item.handler, name=name or item.name, owner=self._owner, options=item.options
                )
            if name is None or name == item.name:
                return item
            return self._builder.chunk(item.handler, name=name, owner=self._owner, options=item.options)
        return self._builder.chunk(item, name=name, owner=self._owner, options=ChunkOptions())

    def _refuse_following_itself(self, source: Source, chunk: Chunk | SubFlow) -> None:
        done = ("done", chunk.id)
        loops = [edge.node for edge in self._builder.edges.get(done, ())] if source[0] == "item" else []
        if source == done or source[1] in loops:
            raise exceptions.DefinitionError(
                f"chunk {chunk.name} would follow itself and never end; give the second one a name="
            )

    def _at(self, source: Source | None, *, owner: str) -> Process:
        return Process(self._builder, source, owner=owner, root=self._root, block=self._block, slot=self._slot)

    def _standing(self, method: str) -> Source:
        if self._source is None:
            raise exceptions.MisplacedBlockError(f"{method}() directly after match(): a case() comes first")
        return self._source

    def _open_block(self, kind: str, method: str) -> Block:
        if self._block is None or self._block.kind != kind:
            inside = f"inside {self._block.kind}()" if self._block is not None else f"outside of any {kind}()"
            raise exceptions.MisplacedBlockError(f"{method}() {inside}: it closes or continues a {kind}()")
        return self._block

    def _branch(self, block: Block, slot: str) -> Process:
        self._builder.changed()
        place = f"{block.draft.id}/{slot}"
        return Process(self._builder, ("branch", place), owner=place, root=self._root, block=block, slot=slot)

    def _close_branch(self, block: Block) -> None:
        if self._source is not None:
            # Without the slot where it does not matter: a chunk that stands in two cases has one way on.
            slot = self._slot if block.draft.mode == "hit_all" else None
            self._builder.connect(self._source, block.draft.partner, slot)

    def _after(self, block: Block) -> Process:
        end = block.draft.partner
        return Process(
            self._builder, ("fired", end), owner=end, root=self._root, block=block.parent, slot=block.outer_slot
        )


def _listed(names: Any) -> Iterable[Any]:
    if isinstance(names, set | frozenset):
        return sorted(names, key=str)  # node ids follow from the order; that of a set differs between processes
    return names if isinstance(names, list | tuple) else [names]


def _concurrency(value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise exceptions.DefinitionError(f"concurrency={value!r}: give a whole number, 1 or more, or None")
    return value
