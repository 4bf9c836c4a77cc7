"""The pages and snippets of the press: every kind of content that Wagtail keeps in a database."""

from typing import ClassVar

from django.db import models
from modelcluster.contrib.taggit import ClusterTaggableManager
from modelcluster.fields import ParentalKey, ParentalManyToManyField
from taggit.models import TaggedItemBase
from wagtail import blocks
from wagtail.fields import RichTextField, StreamField
from wagtail.images.blocks import ImageChooserBlock
from wagtail.models import DraftStateMixin, Orderable, Page, RevisionMixin, TranslatableMixin
from wagtail.search import index
from wagtail.search.queryset import SearchableQuerySetMixin
from wagtail.snippets.models import register_snippet


class AuthorQuerySet(SearchableQuerySetMixin, models.QuerySet):
    """Finds authors."""


@register_snippet
class Author(DraftStateMixin, RevisionMixin, TranslatableMixin, index.Indexed, models.Model):
    """An author: a snippet with drafts, revisions and translations."""

    name = models.CharField(max_length=100)
    since = models.DateTimeField(null=True, blank=True)

    objects = AuthorQuerySet.as_manager()
    search_fields: ClassVar = [index.SearchField("name"), index.AutocompleteField("name")]

    class Meta(TranslatableMixin.Meta):
        """Keeps the unique translation of Wagtail's."""


class ArticleTag(TaggedItemBase):
    """A tag of an article."""

    content_object = ParentalKey("press.Article", on_delete=models.CASCADE, related_name="tagged_items")


class Article(Page):
    """An article, with a stream of blocks."""

    intro = RichTextField(blank=True)
    body = StreamField(
        [
            ("heading", blocks.CharBlock()),
            ("text", blocks.RichTextBlock()),
            ("image", ImageChooserBlock()),
            (
                "table",
                blocks.ListBlock(blocks.StructBlock([("n", blocks.DecimalBlock()), ("at", blocks.DateTimeBlock())])),
            ),
        ],
        blank=True,
    )
    day = models.DateField(null=True, blank=True)
    reading_time = models.DurationField(null=True, blank=True)
    tags = ClusterTaggableManager(through=ArticleTag, blank=True)
    authors = ParentalManyToManyField(Author, blank=True)
    lead_image = models.ForeignKey(
        "wagtailimages.Image", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    search_fields: ClassVar = [*Page.search_fields, index.SearchField("intro"), index.SearchField("body")]


class Link(Orderable):
    """A link below an article."""

    article = ParentalKey(Article, on_delete=models.CASCADE, related_name="links")
    url = models.URLField()
