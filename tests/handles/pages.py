"""Views a project might write around a flow, sync and async, and the urlconf that serves them."""

from __future__ import annotations

import asyncio
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from triggerflow_django import TriggerFlow
from triggerflow_django.exceptions import TriggerFlowError

flow = TriggerFlow("served")


@flow.chunk
def book(data: Any) -> Any:
    """A sync chunk that uses the ORM."""
    Group.objects.create(name=f"booked {data.input}")
    if data.input == "bad":
        raise LookupError("no such order")
    return data.input


async def ask(data: Any) -> Any:
    """An async one that uses it too."""
    await asyncio.sleep(0)
    assert await Group.objects.filter(name=f"booked {data.input}").aexists()
    return await data.async_pause_for(type="approval", interrupt_id="gate")


async def record(data: Any) -> None:
    """What comes after the gate."""
    await data.async_set_state("answer", data.input)


flow.to(book).to(ask).to(record)


def start(request: HttpRequest, name: str) -> JsonResponse:
    """Starts an execution."""
    execution = flow.start_execution(name, auto_close=False)
    return JsonResponse({"id": execution.id, "status": execution.get_status()})


async def start_async(request: HttpRequest, name: str) -> JsonResponse:
    """Starts an execution."""
    execution = await flow.async_start_execution(name, auto_close=False)
    return JsonResponse({"id": execution.id, "status": await execution.async_get_status()})


async def start_sync_in_async(request: HttpRequest, name: str) -> JsonResponse:
    """Starts one with the sync spellings although a loop is running."""
    execution = flow.start_execution(name, auto_close=False)
    return JsonResponse({"id": execution.id, "status": execution.get_status()})


def answer(request: HttpRequest, execution_id: str) -> JsonResponse:
    """Answers and closes."""
    try:
        execution = flow.get_execution(execution_id)
        execution.continue_with("gate", "yes")
        return JsonResponse(execution.close())
    except TriggerFlowError as error:
        return JsonResponse({"code": error.code}, status=409)


async def answer_async(request: HttpRequest, execution_id: str) -> JsonResponse:
    """Answers and closes."""
    try:
        execution = await flow.async_get_execution(execution_id)
        await execution.async_continue_with("gate", "yes")
        return JsonResponse(await execution.async_close())
    except TriggerFlowError as error:
        return JsonResponse({"code": error.code}, status=409)


def start_and_fail(request: HttpRequest, name: str) -> JsonResponse:
    """Starts one, then fails: under ATOMIC_REQUESTS nothing may be left."""
    flow.start_execution(name)
    raise ValueError("after the start")


@transaction.non_atomic_requests
def start_and_fail_non_atomic(request: HttpRequest, name: str) -> JsonResponse:
    """The same, outside any transaction."""
    return start_and_fail(request, name)


urlpatterns = [
    path("start/<name>", start),
    path("start-async/<name>", start_async),
    path("start-sync-in-async/<name>", start_sync_in_async),
    path("answer/<execution_id>", answer),
    path("answer-async/<execution_id>", answer_async),
    path("start-and-fail/<name>", start_and_fail),
    path("start-and-fail-non-atomic/<name>", start_and_fail_non_atomic),
]
