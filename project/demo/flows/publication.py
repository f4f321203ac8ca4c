"""Publication: answers come back as events, and a ``when`` goes on once all that is needed has happened.

    submit -> ask_editor                        its answer is the event EditorAnswered
    PicturesFound -> ask_rights                 its answer is the event RightsAnswered
    EditorAnswered and RightsAnswered -> weigh
    EmbargoSet -> ask_release                   its answer is the event Released
    Released -> publish,  Published -> announce,  Stopped -> stop

A pause with ``resume_to={"event": ...}`` ends its own chain: its answer is emitted, and whoever listens goes on. So the
same event may also come from a chunk (no pictures: the rights are clear) or from another system
(``execution.emit("RightsAnswered", ..., actor=user)``), which then answers the question, if that user may.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from project.demo.models import Article, ArticleStatus
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData

publication_flow = TriggerFlow(name="demo.publication")


def submit_article(manuscript: Mapping[str, Any], *, by: Any, key: str) -> TriggerFlowExecution:
    """Make an article (title, section, pictures, embargo) and start its publication, in one transaction.

    The article is the execution's subject. ``key``: the author's key of the submission; the same one again gives the
    same article and the same execution.
    """
    with transaction.atomic():
        article, _ = Article.objects.get_or_create(
            submission=key, defaults={"title": manuscript["title"], "section": manuscript["section"]}
        )
        return publication_flow.start_execution(dict(manuscript), key=key, subject=article, started_by=by)


def submit(data: TriggerFlowRuntimeData) -> dict[str, Any]:
    """Say whether somebody has to look at pictures; their rights are clear where there are none."""
    manuscript: dict[str, Any] = data.input
    data.set_state("embargo", manuscript["embargo"])
    if manuscript["pictures"]:
        data.emit("PicturesFound", manuscript)
    else:
        data.emit("RightsAnswered", {"cleared": True})
    return manuscript


async def ask_editor(data: TriggerFlowRuntimeData) -> object:
    """Is the text good enough? A manager who did not hand it in decides."""
    return await data.async_pause_for(
        type="editorial_approval",
        interrupt_id="editor",
        payload={"question": f"Publish {data.input['title']!r} in {data.input['section']}?"},
        resume_to={"event": "EditorAnswered"},
        approvers="group:manager",
        exclude_starter=True,
        response_schema={
            "type": "object",
            "properties": {"approved": {"type": "boolean"}, "note": {"type": "string"}},
            "required": ["approved"],
            "additionalProperties": False,
        },
        due_in=dt.timedelta(days=1),
    )


async def ask_rights(data: TriggerFlowRuntimeData) -> object:
    """May the pictures be shown? Nobody is named: whoever has the permission ``triggerflow.resume_interrupt``."""
    return await data.async_pause_for(
        type="picture_rights",
        interrupt_id="rights",
        payload={"question": "May these pictures be shown?", "pictures": data.input["pictures"]},
        resume_to={"event": "RightsAnswered"},
        response_schema={
            "type": "object",
            "properties": {"cleared": {"type": "boolean"}},
            "required": ["cleared"],
            "additionalProperties": False,
        },
        due_in=dt.timedelta(days=1),
    )


def weigh(data: TriggerFlowRuntimeData) -> None:
    """Both answers are there: stop, wait for the release, or go out at once."""
    answers = data.input["event"]
    if not answers["EditorAnswered"]["approved"]:
        data.emit("Stopped", "the editor declined")
    elif not answers["RightsAnswered"]["cleared"]:
        data.emit("Stopped", "the pictures may not be shown")
    elif data.get_state("embargo"):
        data.emit("EmbargoSet")
    else:
        data.emit("Released", {"channels": ["web"]})


async def ask_release(data: TriggerFlowRuntimeData) -> object:
    """Hold the article back until whoever has the permission ``demo.release_article`` lets it out, and where."""
    return await data.async_pause_for(
        type="release",
        interrupt_id="release",
        payload={"question": "The article is under embargo. Where may it go out now?"},
        resume_to={"event": "Released"},
        approvers="perm:demo.release_article",
        response_schema={
            "type": "object",
            "properties": {
                "channels": {
                    "type": "array",
                    "items": {"enum": ["web", "newsletter", "print"]},
                    "minItems": 1,
                    "uniqueItems": True,
                }
            },
            "required": ["channels"],
            "additionalProperties": False,
        },
    )


@publication_flow.chunk(atomic=True)
def publish(data: TriggerFlowRuntimeData) -> None:
    """Publish the article; its row and the record that this step ran are one commit."""
    _leave_review(data, ArticleStatus.PUBLISHED)
    data.emit("Published", data.input["channels"])


@publication_flow.chunk(atomic=True)
def stop(data: TriggerFlowRuntimeData) -> None:
    """Reject the article."""
    _leave_review(data, ArticleStatus.REJECTED)
    data.set_state("stopped", data.input)


def _leave_review(data: TriggerFlowRuntimeData, status: ArticleStatus) -> None:
    """Move the execution's subject on, once.

    Raises: LookupError where somebody moved the article by another way, or deleted it.
    """
    article_id = data.execution.row().subject_id
    moved = Article.objects.filter(pk=article_id, status=ArticleStatus.IN_REVIEW).update(status=status)
    if not moved:
        raise LookupError(f"article {article_id} is not in review any more")


async def announce(data: TriggerFlowRuntimeData) -> None:
    """Tell every channel."""
    for channel in data.input:
        await data.async_append_state("announced", channel)


publication_flow.to(submit).to(ask_editor)
publication_flow.when("PicturesFound").to(ask_rights)
publication_flow.when(["EditorAnswered", "RightsAnswered"]).to(weigh)
publication_flow.when("EmbargoSet").to(ask_release)
publication_flow.when("Released").to(publish)
publication_flow.when("Published").to(announce)
publication_flow.when("Stopped").to(stop)
