"""The museum's tables: every kind of field and of constraint that Django has for SQLite and PostgreSQL alike."""

import uuid
from decimal import Decimal
from typing import ClassVar

from django.contrib.auth.models import User
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint
from django.db.models.functions import Lower, Now
from django.utils import timezone


class Era(models.Model):
    """An era: the migrations insert three, with the moment at which they ran, so no two databases have the same."""

    code = models.CharField(primary_key=True, max_length=12)
    name = models.CharField(max_length=80, unique=True)
    entered = models.DateTimeField(auto_now_add=True)


class Tag(models.Model):
    """A word for many things; unique whatever the case."""

    word = models.SlugField(max_length=40, allow_unicode=True)

    class Meta:
        """Holds the unique expression."""

        constraints: ClassVar = [UniqueConstraint(Lower("word"), name="tag_word_folded")]


class Note(models.Model):
    """A note about a row of any table."""

    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.CharField(max_length=64)
    about = GenericForeignKey("content_type", "object_id")
    text = models.TextField()

    class Meta:
        """Holds an index over two columns."""

        indexes: ClassVar = [models.Index(fields=["content_type", "object_id"])]


class Thing(models.Model):
    """A thing of the museum, with a column of every kind."""

    name = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    label = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    era = models.ForeignKey(Era, on_delete=models.PROTECT)
    part_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="parts")
    keeper = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    tags = models.ManyToManyField(Tag, through="Tagging")
    related = models.ManyToManyField("self", symmetrical=True)
    story = models.TextField(blank=True)
    price = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    weight = models.FloatField(null=True)
    count = models.PositiveSmallIntegerField(default=1)
    serial = models.BigIntegerField(null=True)
    balance = models.IntegerField(default=0)
    lent_for = models.DurationField(null=True)
    acquired = models.DateTimeField(default=timezone.now)
    changed = models.DateTimeField(auto_now=True)
    made = models.DateField(null=True)
    shown_from = models.TimeField(null=True)
    details = models.JSONField(null=True)
    picture = models.BinaryField(null=True)
    camera = models.GenericIPAddressField(null=True)
    contact = models.EmailField(blank=True)
    page = models.URLField(blank=True)
    scan = models.FileField(upload_to="scans", blank=True)
    on_show = models.BooleanField(null=True)
    written = models.DateTimeField(db_default=Now())
    insured = models.GeneratedField(
        expression=F("count") * F("balance"), output_field=models.BigIntegerField(), db_persist=True
    )
    notes = GenericRelation(Note)

    class Meta:
        """Holds constraints of every kind, and a permission of the application's own."""

        permissions: ClassVar = [("lend_thing", "Can lend a thing")]
        constraints: ClassVar = [
            CheckConstraint(condition=Q(price__isnull=True) | Q(price__gte=Decimal(0)), name="thing_price_from_0"),
            UniqueConstraint(fields=["era", "serial"], name="thing_serial_of_era"),
            UniqueConstraint(fields=["name"], condition=Q(on_show=True), name="thing_shown_once"),
        ]


class Tagging(models.Model):
    """A tag of a thing, with who gave it."""

    thing = models.ForeignKey(Thing, on_delete=models.CASCADE)
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)

    class Meta:
        """Holds a unique pair."""

        unique_together: ClassVar = [("thing", "tag")]


class Visit(models.Model):
    """A visit, whose key is a UUID, in a table and columns with capitals."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(db_column="visitedAt")
    stay = models.DurationField(db_column="howLong")
    seen = models.ManyToManyField(Thing, db_table="visit Seen")

    class Meta:
        """Names the table."""

        db_table = "museum_Visit"
