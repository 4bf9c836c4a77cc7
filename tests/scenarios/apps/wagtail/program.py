"""
Drives a Wagtail site through its API; runs under Wagtail's own Python: ``program.py VERB URL``.

``create`` runs the migrations, which also insert a root page, a home page, a site, a locale, a collection, groups with
permissions, and a workflow; ``start`` does what an operator does who tries the site before the data comes. ``tell``
prints all rows of all models but the search index as the API gives them, and what searches find; ``continue`` writes
on; ``index`` makes the search index anew, as the operator does after the move.
"""

import json
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent))

APPLICATIONS = [
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.settings",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "press",
]
INDEX = {"wagtailsearch.IndexEntry"}
"""What each database has in a form of its own."""

urlpatterns: list[Any] = []


def configure(url: str, media: str) -> None:
    """Let Django use a database, of SQLite or of PostgreSQL."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:]}
    else:
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], "HOST": parts.hostname or ""}
        database |= {"USER": unquote(parts.username or ""), "PASSWORD": unquote(parts.password or "")}
        database |= {"PORT": str(parts.port or "")}
    settings.configure(
        SECRET_KEY="of a test",
        DATABASES={"default": database},
        INSTALLED_APPS=APPLICATIONS,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        LANGUAGES=[("en", "English"), ("de", "Deutsch")],
        WAGTAIL_CONTENT_LANGUAGES=[("en", "English"), ("de", "Deutsch")],
        WAGTAIL_I18N_ENABLED=True,
        WAGTAIL_SITE_NAME="Press",
        WAGTAILADMIN_BASE_URL="http://localhost",
        WAGTAIL_ENABLE_UPDATE_CHECK=False,
        EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend",
        MEDIA_ROOT=media,
        STATIC_URL="/static/",
        TIME_ZONE="Europe/Berlin",
        USE_TZ=True,
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    )
    django.setup()


def create() -> None:
    """Make the tables, with what migrations insert."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def start() -> None:
    """Do what an operator does who tries the site: make an administrator, who writes a page."""
    from django.contrib.auth.models import User
    from press.models import Article
    from wagtail.models import Page

    operator = User.objects.create_superuser("operator", "operator@example.org", "secret")
    page = Page.objects.get(depth=2).add_child(instance=Article(title="A try", slug="try"))
    page.save_revision(user=operator).publish()


def fill() -> None:
    """Fill every kind of table through the API."""
    from django.contrib.auth.models import Group, User
    from django.core.files.images import ImageFile
    from PIL import Image as Picture
    from press.models import Article, Author, Link
    from wagtail.documents.models import Document
    from wagtail.images.models import Image
    from wagtail.models import Collection, Locale, Page, Site

    create()
    ada = User.objects.create_superuser("ada", "ada@example.org", "größe 🌱")
    bob = User.objects.create_user("bob")
    bob.groups.add(Group.objects.get(name="Editors"))
    german = Locale.objects.create(language_code="de")
    home = Page.objects.get(depth=2)
    home.title = "Startseite 🌱"
    home.save_revision(user=ada).publish()
    Site.objects.update(hostname="press.example.org", port=443, site_name="Größe")
    pictures = Collection.get_first_root_node().add_child(name="Bilder")
    content = BytesIO()
    Picture.new("RGB", (60, 40), "red").save(content, "PNG")
    images = [
        Image.objects.create(
            title=f"Bild {number} 🌱",
            file=ImageFile(BytesIO(content.getvalue()), name=f"ü {number}.png"),
            collection=pictures,
            uploaded_by_user=ada,
            focal_point_x=number,
            focal_point_y=2,
            focal_point_width=1,
            focal_point_height=1,
        )
        for number in range(3)
    ]
    images[0].tags.add("größe", "Rot")
    images[0].get_rendition("width-20")
    Document.objects.create(title="", file=ImageFile(BytesIO(b"\0\xff"), name="leer.pdf"), collection=pictures)
    authors = [Author.objects.create(name=f"Żak {n}", since=datetime(2024, 3, 31, 1, n, tzinfo=UTC)) for n in range(4)]
    authors[0].copy_for_translation(german).save()
    authors[1].save_revision(user=bob)

    for number in range(12):
        parent = home if number % 4 == 0 else english(f"artikel-{number - 1}")
        article = Article(
            title=f"Artikel {number} — größe 'x' \\ 🌱",
            slug=f"artikel-{number}",
            intro="<p>" + "Wörter und Sätze. " * (number * 300) + "</p>",
            body=stream(number, images[number % 3]),
            day=date(2024, 2, 29) if number % 2 else None,
            reading_time=timedelta(minutes=number, microseconds=1) if number % 3 else None,
            lead_image=images[number % 3],
            owner=(ada, bob)[number % 2],
            go_live_at=datetime(2030, 1, 1, tzinfo=UTC) if number % 5 == 4 else None,
            live=number % 5 != 4,
            search_description="" if number % 2 else "running quickly through running",
        )
        parent.add_child(instance=article)
        article.tags.add("größe", f"tag {number % 3}")
        article.authors.set(authors[: number % 4])
        article.links = [Link(url=f"https://example.org/{number}/{n}", sort_order=n) for n in range(number % 3)]
        article.save()
        article.save_revision(user=ada, log_action=True)
        if article.live:
            article.latest_revision.publish()
    change(ada, bob, home, german)


def change(ada: Any, bob: Any, home: Any, german: Any) -> None:
    """Copy, move, translate and delete pages, start a workflow, and note what visitors look for."""
    from wagtail.contrib.redirects.models import Redirect
    from wagtail.contrib.search_promotions.models import Query, SearchPromotion
    from wagtail.models import PageViewRestriction, TaskState, Workflow

    first = english("artikel-0")
    first.copy(recursive=True, update_attrs={"slug": "kopie", "title": "Kopie"}, user=ada)
    first.create_alias(update_slug="alias", user=ada)
    home.copy_for_translation(german, copy_parents=True)
    first.copy_for_translation(german)
    english("artikel-3").move(home, pos="first-child", user=ada)
    english("artikel-11").delete(user=ada)
    waiting = english("artikel-5")
    waiting.save_revision(user=bob)
    Workflow.objects.get().start(waiting, bob)
    TaskState.objects.get().specific.reject(user=ada, comment="nein 🌱")
    PageViewRestriction.objects.create(page=first, restriction_type="password", password="ü")
    Redirect.add_redirect("/alt", first)
    query = Query.get("größe")
    query.add_hit(date=date(2024, 2, 29))
    SearchPromotion.objects.create(query=query, page=first, sort_order=0, description="")


def english(slug: str) -> Any:
    """Return the article of such a slug that is no translation and no copy."""
    from press.models import Article

    return Article.objects.exclude(url_path__contains="/kopie/").get(
        slug=slug, locale__language_code="en", alias_of=None
    )


def stream(number: int, image: Any) -> list[tuple[str, Any]]:
    """Return a stream with blocks of every kind."""
    return [
        ("heading", f"Kopf {number} 🌱"),
        ("text", "<p>a &amp; b</p>"),
        ("image", image),
        ("table", [{"n": "0.10", "at": datetime(2024, 10, 27, 2, 30, tzinfo=UTC)}] * number),
    ][: 1 + number % 4]


def tell() -> None:
    """Print the rows of all models, and of the tables between them, as Python writes them, and what searches find."""
    from django.apps import apps
    from press.models import Article, Author
    from wagtail.models import Page

    told: dict[str, Any] = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.label not in INDEX and not model._meta.label.endswith("FTSIndexEntry"):
            rows = model.objects.order_by("pk").values().iterator()
            told[model._meta.label] = [repr({name: told_value(row[name]) for name in row}) for row in rows]
    told["searches"] = [
        sorted(page.pk for page in Page.objects.search("größe")),
        sorted(page.pk for page in Article.objects.search("Wörter")),
        sorted(author.pk for author in Author.objects.autocomplete("ża")),
    ]
    told["tree"] = Page.find_problems(), [page.url_path for page in Page.get_tree()]
    told["bodies"] = [article.body.render_as_block() for article in Article.objects.order_by("pk")]
    print(json.dumps(told))


def told_value(value: Any) -> Any:
    """Return a value in one form: objects of JSON with sorted keys, streams as JSON."""
    if hasattr(value, "get_prep_value"):
        value = value.get_prep_value()
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value


def go_on() -> None:
    """Write on: pages, revisions, moves, a workflow, cascades and keys that are taken; print ids."""
    from django.contrib.auth.models import User
    from django.core.exceptions import ValidationError
    from django.core.management import call_command
    from press.models import Article, Author
    from taggit.models import Tag
    from wagtail.models import Page, PageLogEntry, Revision, Workflow

    ada = User.objects.get(username="ada")
    assert ada.check_password("größe 🌱")
    assert User.objects.get(username="bob").has_perm("wagtailadmin.access_admin")
    home = Page.objects.get(depth=2, locale__language_code="en")
    page = home.add_child(instance=Article(title="Neu", slug="neu", intro="<p>unverwechselbar</p>"))
    page.tags.add("größe", "ganz neu")
    page.save()
    revision = page.save_revision(user=ada, log_action=True)
    revision.publish()
    told: dict[str, Any] = {
        "page": [page.pk, page.path, revision.pk, PageLogEntry.objects.count()],
        "tag": Tag.objects.get(name="ganz neu").pk,
        "author": Author.objects.create(name="Neu").pk,
        "found": [found.pk for found in Page.objects.search("unverwechselbar")],
    }
    try:
        home.add_child(instance=Article(title="Neu", slug="neu"))
    except ValidationError as error:
        told["taken"] = sorted(error.message_dict)
    moved = english("artikel-1")
    moved.move(english("neu"), pos="last-child", user=ada)
    told["moved"] = english("artikel-1").path
    state = Workflow.objects.get().start(page, ada)
    told["workflow"] = [state.pk, state.current_task_state.pk]
    english("artikel-8").delete(user=ada)
    told["left"] = [Page.objects.count(), Revision.objects.count(), Page.find_problems()]
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    print(json.dumps(told))


def index() -> None:
    """Make the search index anew, as ``manage.py update_index`` does."""
    from django.core.management import call_command

    call_command("update_index", verbosity=0)


COMMANDS = {"fill": fill, "create": create, "start": start, "tell": tell, "continue": go_on, "index": index}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        configure(sys.argv[2], folder)
        COMMANDS[sys.argv[1]]()
