"""All flows of the demo, bound at module level: that is how triggerflow_django finds and registers them.

One module a flow, and in it everything there is to know about it; a small app may as well have them all in one
``flows.py``.
"""

from project.demo.flows.expenses import expense_flow
from project.demo.flows.publication import publication_flow
from project.demo.flows.refund import refund_flow
from project.demo.flows.review import review_flow
from project.demo.flows.signoff import sign_off_flow

__all__ = ["expense_flow", "publication_flow", "refund_flow", "review_flow", "sign_off_flow"]
