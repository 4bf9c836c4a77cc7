"""
Drives the museum through Django's API; runs under Django's own Python: ``program.py VERB URL``.

``create`` runs Django's migrations, which also insert permissions, content types, a site and the museum's eras;
``start`` does what an operator does who tries the site before the data comes. ``tell`` prints all rows of all models as
the API gives them, as JSON; ``continue`` writes on, and ``again`` once more after it.
"""

import json
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent))

APPLICATIONS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sites",
    "museum",
]
LATER = ["django.contrib.flatpages", "django.contrib.redirects"]
BERLIN_SUMMER = timezone(timedelta(hours=2))


def configure(url: str) -> None:
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
        INSTALLED_APPS=[*APPLICATIONS, *LATER],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        SITE_ID=1,
        TIME_ZONE="Europe/Berlin",
        USE_TZ=True,
    )
    django.setup()


urlpatterns: list[Any] = []


def create() -> None:
    """Make the tables, with what migrations insert."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def create_in_two_steps() -> None:
    """
    Make the tables as a site does that has grown: first without the applications that came later.

    Content types and permissions have other ids than in a database that is made at once.
    """
    from django.core.management import call_command

    for label in ("museum", "sites"):
        call_command("migrate", label, verbosity=0)
    create()


def start() -> None:
    """Do what an operator does who tries the site: make an administrator, who logs in."""
    from django.contrib.auth.models import User
    from django.test import Client

    User.objects.create_superuser("operator", "operator@example.org", "secret")
    assert Client().login(username="operator", password="secret")


def fill() -> None:
    """Fill every table through the API."""
    from django.contrib.admin.models import ADDITION, LogEntry
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.flatpages.models import FlatPage
    from django.contrib.redirects.models import Redirect
    from django.contrib.sites.models import Site
    from django.test import Client
    from museum.models import Era, Note, Tag, Tagging, Thing, Visit

    create_in_two_steps()
    ada = User.objects.create_superuser("ada", "ada@example.org", "größe 🌱", first_name="Ada", last_name="Löw-Żak")
    bob = User.objects.create_user("bob", password=None, is_active=False)
    User.objects.create_user("gone").delete()
    keepers = Group.objects.create(name="Hüter 🌱")
    keepers.permissions.set(Permission.objects.filter(codename__endswith="_thing"))
    bob.groups.add(keepers)
    bob.user_permissions.add(Permission.objects.get(codename="lend_thing"))
    ContentType.objects.create(app_label="museum", model="removed")  # of a model that a later version took away
    Site.objects.update(domain="museum.example.org", name="Museum")
    page = FlatPage.objects.create(url="/über/", title="Über uns", content="<p>\r\n\t…</p>")
    page.sites.set(Site.objects.all())
    Redirect.objects.create(site_id=1, old_path="/alt/", new_path="")
    assert Client().login(username="ada", password="größe 🌱")

    Era.objects.create(code="x", name="")
    tags = [Tag.objects.create(word=word) for word in ("größe", "Rot", "ab_c", "東京")]
    things = [make_thing(number, keeper=(None, ada, bob)[number % 3]) for number in range(60)]
    for number, thing in enumerate(things):
        if number % 4 == 3:
            thing.part_of = things[number - 1]
            thing.save()
        Tagging.objects.create(thing=thing, tag=tags[number % 4], by=ada if number % 2 else None)
        Note.objects.create(about=thing, text=f"note {number} \\ ' \" \u2028 🌱")
    things[0].related.set(things[1:5])
    Note.objects.create(about=bob, text="x" * 300_000)
    for number in range(20):
        visit = Visit.objects.create(
            id=UUID(int=2**127 + number),
            at=datetime(2024, 3, 31, 1, 59, 59, 999_999, UTC) + timedelta(days=number * 37),
            stay=timedelta(days=number - 3, microseconds=number),
        )
        visit.seen.set(things[number : number + 3])
    LogEntry.objects.log_actions(ada.pk, Thing.objects.filter(pk__lt=5), ADDITION, change_message=[{"added": {"ü": 1}}])
    Thing.objects.filter(pk__gt=55).delete()  # ids that must not come again
    Thing.objects.filter(pk__in=(7, 8)).delete()


def make_thing(number: int, **more: Any) -> Any:
    """Make a thing of extreme and of common values, by its number."""
    from museum.models import Thing

    moments = [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_999, UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN_SUMMER),
        datetime(2024, 2, 29, 12, 34, 56, 789_000, timezone(timedelta(hours=-9, minutes=-30))),
    ]
    stays = [None, timedelta(0), timedelta(days=-1, microseconds=1), timedelta(days=40_000), timedelta(seconds=90.5)]
    details: list[Any] = [
        None,
        [],
        {"ü": [1, 2.5, None, True], "": {"a b": "🌱"}},
        "text",
        2**60,
        0.1 + 0.2,
        {"n": -1e-300},
        False,
    ]
    cameras = [None, "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.1"]
    return Thing.objects.create(
        name=("Vase", "größe 🌱", 'O\'Brien \\ "x"', "", "  space  ")[number % 5],
        slug=f"thing-{number}",
        label=UUID(int=number * 2**100 + 7),
        era_id=("stone", "bronze", "iron")[number % 3],
        story=("", "line\r\nline\ttab", "x" * 70_000, "العربية\u0301")[number % 4],
        price=(None, Decimal("0.0001"), Decimal("99999999.9999"), Decimal("12.5"), Decimal(0))[number % 5],
        weight=(None, 0.1, 1e300, -5e-324, 1 / 3)[number % 5],
        count=(0, 1, 32_767)[number % 3],
        serial=(None, -(2**63), 2**63 - 1, number)[number % 4 if number < 8 else 0],
        balance=(-(2**31), 2**31 - 1, number)[number % 3],
        lent_for=stays[number % 5],
        acquired=moments[number % 5],
        made=(None, date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29))[number % 4],
        shown_from=(None, time(0), time(23, 59, 59, 999_999), time(9, 30))[number % 4],
        details=details[number % 8],
        picture=(None, b"", bytes(range(256)), b"\x89PNG\0" * 50_000)[number % 4],
        camera=cameras[number % 4],
        contact=("", "a@b.example")[number % 2],
        scan=("", "scans/ü b.tif")[number % 2],
        on_show=(None, False, False)[number % 3] if number else True,
        **more,
    )


def tell() -> None:
    """Print the rows of all models, and of the tables between them, as Python writes them."""
    from django.apps import apps

    told = {}
    for model in apps.get_models(include_auto_created=True):
        rows = model.objects.order_by(*([] if model._meta.pk is None else ["pk"]))
        told[model._meta.label] = [repr(told_row(row)) for row in rows.values().iterator()]
    print(json.dumps(told))


def told_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in one form: binary values as bytes, of which psycopg gives a view, and JSON with sorted keys."""
    return {name: told_value(value) for name, value in row.items()}


def told_value(value: Any) -> Any:
    """Return a value in one form."""
    if isinstance(value, memoryview):
        return bytes(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def go_on() -> None:
    """Write on: new rows of every kind, keys that are taken, cascades, queries that look inside values; print ids."""
    from django.contrib.auth.models import Permission, User
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.db.models import Sum
    from django.test import Client
    from museum.models import Note, Tag, Tagging, Thing, Visit

    ada = User.objects.get(username="ada")
    assert ada.check_password("größe 🌱")
    assert User.objects.get(username="bob").has_perm("museum.lend_thing") is False  # since he isn't active
    created = [make_thing(number + 100, keeper=ada).pk for number in range(3)]
    cat = User.objects.create_user("cat")
    cat.user_permissions.set(Permission.objects.filter(codename="lend_thing"))
    told = {
        "things": created,
        "others": [cat.pk, Tag.objects.create(word="neu").pk, Note.objects.create(about=cat, text="").pk],
        "types": ContentType.objects.create(app_label="museum", model="new").pk,
        "sessions": Session.objects.count() + Client().login(username="ada", password="größe 🌱"),
        "permitted": cat.has_perm("museum.lend_thing"),
        "taken": [
            refused(Tag, word="GRÖSSE".lower().replace("ss", "ß").upper()),
            refused(Tag, word="rot"),
            refused(Tagging, thing_id=1, tag_id=1),
            refused(User, username="ada"),
            refused(ContentType, app_label="museum", model="thing"),
        ],
    }
    told["refused"] = [refused_thing(price=Decimal(-1)), refused_thing(on_show=True), refused_thing(slug="thing-1")]
    told["inside"] = [
        sorted(Thing.objects.filter(details__has_key="ü").values_list("pk", flat=True)),
        sorted(Thing.objects.filter(lent_for__gt=timedelta(days=1)).values_list("pk", flat=True)),
        sorted(Thing.objects.filter(acquired__year=2024).values_list("pk", flat=True)),
        sorted(Thing.objects.filter(camera="192.0.2.7").values_list("pk", flat=True)),
        str(Thing.objects.aggregate(total=Sum("price"))["total"].quantize(Decimal("0.0001"))),
    ]
    told["deleted"] = sorted(Thing.objects.get(slug="thing-2").delete()[1].items())
    told["visits"] = [visit.seen.count() for visit in Visit.objects.order_by("pk")]
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    print(json.dumps(told))


def go_on_again() -> None:
    """Write on after ``go_on``: a new, a changed and a deleted row of many kinds, a login; print ids and numbers."""
    from django.contrib.auth.models import User
    from django.db.models import F
    from django.test import Client
    from museum.models import Note, Tag, Thing, Visit

    ada = User.objects.get(username="ada")
    created = [make_thing(number + 200, keeper=ada) for number in range(5)]
    created[0].related.set(Thing.objects.filter(slug__in=("thing-4", "thing-5")))
    thing = Thing.objects.get(slug="thing-100")
    thing.acquired, thing.lent_for = datetime(2026, 3, 1, 12, tzinfo=BERLIN_SUMMER), timedelta(days=3, microseconds=5)
    thing.price, thing.details, thing.picture = Decimal("7.125"), {"back": [True, None]}, b"\0\xff"
    thing.save()
    visit = Visit.objects.create(at=datetime(2026, 3, 1, tzinfo=UTC), stay=timedelta(0), id=UUID(int=7))
    told = {
        "ids": [
            row.pk for row in (*created, Tag.objects.create(word="zurück"), Note.objects.create(about=ada, text="ü"))
        ],
        "raised": Thing.objects.filter(count__lt=100, balance__range=(-999, 999)).update(count=F("count") + 1),
        "deleted": sorted(Thing.objects.get(slug="thing-12").delete()[1].items()),
        "user": User.objects.get(username="cat").delete()[0],
        "taken": [refused(Tag, word="zurück"), refused(Thing, slug="thing-200")],
        "visit": [str(visit.pk), Visit.objects.filter(stay__lte=timedelta(0)).count()],
        "login": Client().login(username="ada", password="größe 🌱"),
    }
    print(json.dumps(told))


def refused_thing(**changed: Any) -> str:
    """Return the class of the error that a thing with such a value ends with."""
    from museum.models import Thing

    thing = Thing.objects.get(slug="thing-1")
    first = Thing.objects.get(slug="thing-0")
    values = {"name": first.name, "slug": "another", "label": UUID(int=1), "era_id": thing.era_id, **changed}
    return refused(Thing, **values)


def refused(model: Any, /, **values: Any) -> str:
    """Return the class of the error that a row with such values ends with."""
    from django.db import IntegrityError, transaction

    try:
        with transaction.atomic():
            model.objects.create(**values)
    except IntegrityError as error:
        return type(error).__name__
    return ""


COMMANDS = {"fill": fill, "create": create, "start": start, "tell": tell, "continue": go_on, "again": go_on_again}

if __name__ == "__main__":
    configure(sys.argv[2])
    COMMANDS[sys.argv[1]]()
