"""Guards of the gate: who may decide, once, with what, and while it is open."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

DECIDING: Final = (
    Mutant(
        "of two answers one wins: the update asks for status waiting",
        (
            Edit(
                "engine/resolve.py",
                'guard = {"id": interrupt.pk, "status": InterruptStatus.WAITING}',
                'guard = {"id": interrupt.pk}',
            ),
        ),
        ("engine/test_decide.py::test_an_answer_that_loses_the_race_changes_nothing",),
    ),
    Mutant(
        "a late answer is told so under the lock",
        (
            Edit(
                "engine/decide.py",
                "            require_waiting(interrupt)\n            authority",
                "            authority",
            ),
        ),
        (
            "engine/test_decide_refused.py::test_a_late_answer_hears_that_it_is_late_rather_than_that_it_is_wrong",
            "engine/test_decide.py::test_a_late_answer_is_refused_saying_by_whom_and_when",
        ),
    ),
    Mutant(
        "the gate opens in one place only",
        (
            Edit(
                "engine/retry.py",
                "def retry(\n",
                ("def also(interrupt: Any) -> None:\n    interrupt.status = InterruptStatus.RESUMED\n\n\ndef retry(\n"),
            ),
        ),
        ("engine/test_invariants.py::test_1_only_one_function_of_the_package_resumes_an_interrupt",),
    ),
    Mutant(
        "who decides is held against the policy",
        (
            Edit(
                "engine/decide.py",
                "            authority.require_allowed(transition.execution, interrupt, actor, door)\n",
                "",
            ),
        ),
        (
            "engine/test_invariants.py::test_2_the_same_policy_stands_behind_every_door",
            "engine/test_authority.py::test_nobody_named_the_permission_decides",
        ),
    ),
    Mutant(
        "the doors of persons want a person",
        (Edit("engine/authority.py", "trusted = door in (Door.CODE, Door.EVENT, Door.DEADLINE)", "trusted = True"),),
        ("engine/test_authority_code.py::test_code_without_a_user_is_trusted_through_no_door_of_persons",),
    ),
    Mutant(
        "a bare name is no named approver",
        (
            Edit(
                "engine/authority.py", "named = bool(interrupt.approvers) or interrupt.exclude_starter", "named = False"
            ),
        ),
        ("engine/test_authority_code.py::test_a_bare_name_never_stands_in_for_a_named_approver",),
    ),
    Mutant(
        "four eyes: the starter is excluded",
        (Edit("engine/authority.py", "exclude_starter=interrupt.exclude_starter,", "exclude_starter=False,"),),
        ("engine/test_authority.py::test_the_starter_is_excluded_also_where_named_and_also_as_superuser",),
    ),
    Mutant(
        "who emits an event that answers is held against the policy",
        (
            Edit(
                "engine/resolve.py",
                (
                    "    for interrupt in interrupts:\n"
                    "        authority.require_allowed(transition.execution, interrupt, who, Door.EVENT)\n"
                ),
                "    for interrupt in interrupts:\n",
            ),
        ),
        ("engine/test_resolve.py::test_an_event_from_outside_that_somebody_may_not_answer_with_is_refused_whole",),
    ),
    Mutant(
        "a chunk's own event answers for no named approver",
        (
            Edit(
                "engine/resolve.py",
                ("        if interrupt.approvers or interrupt.exclude_starter:\n            continue\n"),
                "",
            ),
        ),
        ("engine/test_inner_events.py::test_a_chunk_s_own_event_never_answers_in_place_of_a_named_approver",),
    ),
    Mutant(
        "an override is for the command line",
        (Edit("engine/authority.py", "reason = None if door == Door.COMMAND else", "reason = None if door else"),),
        ("engine/test_override.py::test_no_other_door_takes_it",),
    ),
    Mutant(
        "approvers who are nobody are refused when asking",
        (Edit("engine/commit.py", "policy.resolve(pause.approvers, using=using) if pause.approvers else []", "[]"),),
        (
            "engine/test_authority.py::test_only_the_named_user_decides_superusers_not_excepted",
            "engine/test_authority_code.py::test_approvers_that_name_nobody_fail_the_step_and_leave_no_interrupt",
        ),
    ),
    Mutant(
        "a rule is looked up among the registered ones, never imported",
        (
            Edit(
                "approvals/policy.py",
                ('        case {"kind": "callable", "label": name} if name in _rules:\n            answer'),
                (
                    '        case {"kind": "callable", "label": name}:\n'
                    "            from django.utils.module_loading import import_string\n"
                    "\n"
                    "            _rules.setdefault(name, import_string(name))\n"
                    "            answer"
                ),
            ),
        ),
        ("engine/test_invariants_of_data.py::test_15_a_name_in_a_row_leads_to_a_registered_rule_or_nowhere",),
    ),
    Mutant(
        "a repeated request gets its first answer",
        (
            Edit(
                "engine/decide.py",
                "    if request_id is None or decision is None or decision.request_id != request_id:\n",
                "    if True:\n",
            ),
        ),
        (
            "engine/test_decide_again.py::test_the_same_request_with_the_same_answer_gives_the_same_record_and_changes_nothing",
        ),
    ),
    Mutant(
        "a repeated request with another answer is refused",
        (Edit("engine/decide.py", "    if not jsongate.same(decision.payload, payload):\n", "    if False:\n"),),
        ("engine/test_decide_again.py::test_the_same_request_with_another_answer_is_refused",),
    ),
    Mutant(
        "an interrupt is looked up within its execution",
        (
            Edit(
                "engine/selects.py",
                "Interrupt.objects.using(using).filter(execution_id=execution, interrupt_id=name)",
                "Interrupt.objects.using(using)"
                ".filter(models.Q(execution_id=execution) | ~models.Q(execution_id=execution), interrupt_id=name)",
            ),
        ),
        ("engine/test_decide.py::test_the_id_of_another_execution_s_interrupt_is_refused",),
    ),
    Mutant(
        "no answer to a sealed or closed execution",
        (Edit("engine/decide.py", "            transition.require_open(doing)\n", ""),),
        ("engine/test_decide_refused.py::test_a_sealed_execution_takes_no_answer",),
    ),
    Mutant(
        "no deadline opens a gate of a sealed execution",
        (Edit("engine/deadlines.py", "    if execution.lifecycle != Lifecycle.OPEN or", "    if"),),
        ("engine/test_deadlines_locked.py::test_a_sealed_execution_only_marks_it_overdue",),
    ),
    Mutant(
        "an answer is held against its schema",
        (Edit("engine/decide.py", "            authority.require_valid(interrupt, payload)\n", ""),),
        (
            "engine/test_decide_refused.py::test_an_answer_that_fails_the_schema_names_every_path_and_the_interrupt_still_waits",
        ),
    ),
    Mutant(
        "one question for an answer: an id that waits is not asked again",
        (Edit("engine/commit.py", "    if newest[1] == InterruptStatus.WAITING:\n", "    if False:\n"),),
        ("engine/test_pause_again.py::test_the_same_id_in_two_branches_refuses_the_second_and_leaves_the_first",),
    ),
    Mutant(
        "of two that act on a row the lock lets one go first",
        (Edit("engine/selects.py", '        .select_for_update(no_key=no_key, of=("self",) if no_key else ())\n', ""),),
        (
            "engine/test_deadlines_locked.py::test_of_a_person_and_a_deadline_the_first_to_lock_wins_and_the_other_hears_of_it",
            "engine/test_invariants_of_joins.py::test_7_branches_that_end_at_the_same_moment_fire_their_join_once",
        ),
        needs_postgres=True,
    ),
    Mutant(
        "closing cancels the steps that wait at a gate",
        (
            Edit(
                "engine/closing.py",
                (
                    "    Step.objects.using(transition.using).filter(\n"
                    "        pk__in=[interrupt.step_id for interrupt in waiting], "
                    "status=StepStatus.PAUSED\n"
                    "    ).update(status=StepStatus.CANCELLED, finished_at=transition.now)\n"
                ),
                "",
            ),
        ),
        (
            "engine/test_lifecycle.py::test_closing_with_cancel_cancels_the_interrupt_and_runs_nothing_after_the_gate",
            "engine/test_invariants.py::test_6_no_way_of_ending_runs_what_comes_after_the_gate",
        ),
    ),
    Mutant(
        "a deadline that passed while sealed acts later",
        (Edit("engine/closing.py", "        again.update(overdue_at=None)\n", "        del again\n"),),
        (
            "engine/test_deadlines_locked.py::test_a_deadline_that_passed_while_nothing_was_accepted_acts_once_it_is_open_again",
        ),
    ),
)
