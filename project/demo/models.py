"""The rows that the flows write: a ledger of refunds, and articles on their way to the public."""

from __future__ import annotations

from django.db import models


class Refund(models.Model):
    """One line of the ledger: money that was paid back. Inserted by the refund flow's ``book``, never changed."""

    idempotency_key = models.CharField(
        max_length=200,
        unique=True,
        help_text="The key under which it was paid out; a second booking of one payout is refused by the database.",
    )
    # A plain id, not a foreign key: the ledger outlives the execution.
    execution_id = models.UUIDField(db_index=True, help_text="The execution that paid it.")
    order = models.CharField(max_length=50, help_text="The order it belongs to.")
    amount_cents = models.PositiveBigIntegerField(help_text="What was paid back, in cents of the currency.")
    currency = models.CharField(max_length=3, help_text="ISO 4217.")
    payout_reference = models.CharField(max_length=100, help_text="The payment provider's name for the payout.")
    booked_at = models.DateTimeField(auto_now_add=True, help_text="When it was booked.")

    class Meta:
        verbose_name = "refund"

    def __str__(self) -> str:
        return f"{self.order}: {self.amount_cents} cents {self.currency}"


class ArticleStatus(models.TextChoices):
    """Where an article stands."""

    IN_REVIEW = "in_review", "in review"
    PUBLISHED = "published", "published"
    REJECTED = "rejected", "rejected"


class Article(models.Model):
    """An article somebody wants to publish. Inserted together with the start of its publication flow, whose subject it
    is; from then on only that flow changes its status.
    """

    submission = models.CharField(
        max_length=200, unique=True, help_text="The author's key of the submission: submitting twice gives one article."
    )
    title = models.CharField(max_length=200, help_text="The headline.")
    section = models.CharField(max_length=50, help_text="Where it appears.")
    status = models.CharField(
        max_length=10,
        choices=ArticleStatus.choices,
        default=ArticleStatus.IN_REVIEW,
        help_text="Where it stands; leaves in_review once.",
    )

    class Meta:
        verbose_name = "article"
        permissions = (("release_article", "Can release an article that is under embargo"),)

    def __str__(self) -> str:
        return self.title
