"""
Drives Label Studio through its REST API, in its own process; runs under its own Python: ``program.py VERB URL``.

``create`` runs its migrations; ``start`` does what an operator does who tries it: sign up and make a project. ``tell``
prints the rows of all models as Django gives them, and what the API gives of projects and tasks.
"""

import importlib.util
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LABELS = (
    '<View><Text name="text" value="$text"/><Choices name="kind" toName="text"><Choice value="größe"/>'
    '<Choice value="🌱"/></Choices></View>'
)


def configure(url: str, folder: str) -> None:
    """Let Label Studio use a database, of SQLite or of PostgreSQL; it reads its environment when it is imported."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        database = {"DJANGO_DB": "sqlite", "DATABASE_NAME": parts.path[1:]}
    else:
        database = {"DJANGO_DB": "default", "POSTGRE_NAME": parts.path[1:], "POSTGRE_HOST": parts.hostname or ""}
        database |= {"POSTGRE_USER": unquote(parts.username or ""), "POSTGRE_PASSWORD": unquote(parts.password or "")}
        database |= {"POSTGRE_PORT": str(parts.port or "")}
    quiet = {"COLLECT_ANALYTICS": "False", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "LATEST_VERSION_CHECK": "False"}
    quiet |= {"LOG_LEVEL": "ERROR", "FEATURE_FLAGS_OFFLINE": "True", "SSRF_PROTECTION_ENABLED": "False"}
    os.environ.update(database | quiet, LABEL_STUDIO_BASE_DATA_DIR=folder, SECRET_KEY="of a test")
    os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings.label_studio"
    found = importlib.util.find_spec("label_studio")
    assert found
    assert found.origin
    sys.path.insert(0, str(Path(found.origin).parent))  # its packages import each other as if they were at the top
    warnings.simplefilter("ignore")
    import django

    django.setup()
    logging.disable(logging.ERROR)


def create() -> None:
    """Make the tables, with what migrations insert."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def sign_up(email: str, title: str) -> Any:
    """Make a user with an organization of its own."""
    from organizations.models import Organization
    from users.models import User

    user = User.objects.create_user(email=email, password="größe 🌱", first_name="Ada", last_name="Löw-Żak")
    user.active_organization = Organization.create_organization(created_by=user, title=title)
    user.save()
    return user


def api(user: Any) -> Any:
    """Return a client of the REST API for a user."""
    from rest_framework.test import APIClient

    client = APIClient()
    client.force_authenticate(user)
    client.force_login(user)
    return client


def ask(client: Any, method: str, path: str, body: object = None, **more: Any) -> Any:
    """Ask the API something and return the answer."""
    answer = getattr(client, method)(path, body, format=more.get("format", "json"))
    if more.get("status"):
        return answer.status_code
    assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.content[:2000]!r}"
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return json.loads(content) if content else None


def start() -> None:
    """Do what an operator does who tries it: sign up and make a project."""
    user = sign_up("operator@example.org", "A try")
    ask(api(user), "post", "/api/projects/", {"title": "A try", "label_config": LABELS})


def fill() -> None:
    """Fill projects, tasks, annotations, predictions, views, webhooks and exports through the API."""
    from organizations.models import OrganizationMember
    from users.models import User

    create()
    ada = sign_up("ada@example.org", "Größe 🌱")
    bob = User.objects.create_user(email="bob@example.org", password="x")
    OrganizationMember.objects.create(user=bob, organization=ada.active_organization)
    bob.active_organization = ada.active_organization
    bob.save()
    client, other = api(ada), api(bob)
    projects = [
        ask(
            client, "post", "/api/projects/", {"title": title, "description": "x\r\n\ty" * 1000, "label_config": LABELS}
        )
        for title in ("Größe 🌱", "o'quoted \\", "gone")
    ]
    first, second, gone = (project["id"] for project in projects)
    texts = [
        {"text": ("", "größe 🌱", "x" * 50_000, "a\u2028b")[n % 4], "n": 2**53 + n, "meta": {"ü": None}}
        for n in range(40)
    ]
    for project in (first, second, gone):
        ask(client, "post", f"/api/projects/{project}/import", texts)
    tasks = [task["id"] for task in ask(client, "get", f"/api/tasks?project={first}&page_size=100")["tasks"]]
    for number, task in enumerate(tasks):
        value = {"choices": [("größe", "🌱")[number % 2]]}
        result = [{"from_name": "kind", "to_name": "text", "type": "choices", "value": value, "id": f"r{number}"}]
        if number % 3:
            body = {"result": result, "lead_time": 0.1 + number, "was_cancelled": number % 5 == 0}
            made = ask((client, other)[number % 2], "post", f"/api/tasks/{task}/annotations/", body)
            if number % 7 == 0:
                ask(client, "delete", f"/api/annotations/{made['id']}/")
        if number % 4 == 0:
            ask(
                client,
                "post",
                "/api/predictions/",
                {"task": task, "result": result, "score": 1 / 3, "model_version": "ü"},
            )
        if number % 6 == 0:
            ask(other, "post", f"/api/tasks/{task}/drafts", {"result": result, "lead_time": 5e-324})
    ask(
        client,
        "post",
        "/api/dm/views/",
        {"project": first, "data": {"title": "Größe", "filters": {"conjunction": "and", "items": []}}},
    )
    ask(
        client,
        "post",
        "/api/webhooks/",
        {"url": "https://hook.example/ü", "project": first, "headers": {"x": "ü"}, "is_active": False},
    )
    ask(client, "post", f"/api/projects/{first}/exports/", {"title": "Größe 🌱"})
    ask(client, "delete", f"/api/tasks/{tasks[-1]}/")
    ask(client, "delete", f"/api/projects/{gone}/")


def rows_of_all_models() -> dict[str, Any]:
    """Return the rows of all models, and of the tables between them, as Python writes them."""
    from django.apps import apps

    told = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed:
            rows = model.objects.order_by("pk").values().iterator()
            told[model._meta.label] = [
                repr({name: steady(value) for name, value in row.items() if name not in OF_NOW}) for row in rows
            ]
    return told


def steady(value: Any) -> Any:
    """Return a value in one form: objects of JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else value


OF_NOW = {"created_ago", "updated_ago", "last_login", "search_vector", "annotations_results", "predictions_results"}
"""
What tells of the moment in which it is asked; text to search, which only PostgreSQL has and makes itself; and text that
the database makes from JSON, in its own order of members: the JSON itself is compared.
"""


def lasting(value: Any) -> Any:
    """Return an answer of the API without what it says about now."""
    if isinstance(value, dict):
        return {name: lasting(part) for name, part in value.items() if name not in OF_NOW}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def tell() -> None:
    """Print what the models and the API give."""
    from projects.models import Project
    from users.models import User

    client = api(User.objects.get(email="ada@example.org"))
    told = rows_of_all_models()
    for project in Project.objects.order_by("pk"):
        told[f"project {project.pk}"] = ask(client, "get", f"/api/projects/{project.pk}/")
        tasks = ask(client, "get", f"/api/tasks?project={project.pk}&fields=all&page_size=100")
        told[f"tasks {project.pk}"] = sorted(tasks["tasks"], key=lambda task: task["id"])
        told[f"export {project.pk}"] = ask(
            client, "get", f"/api/projects/{project.pk}/export?exportType=JSON&download_all_tasks=true"
        )
    print(json.dumps(lasting(told), sort_keys=True, default=repr))


def go_on() -> None:
    """Write on: projects, tasks, annotations, keys that are taken, cascades; print ids."""
    from django.core.management import call_command
    from django.db import IntegrityError, transaction
    from projects.models import Project
    from tasks.models import Annotation, Task
    from users.models import User

    ada = User.objects.get(email="ada@example.org")
    assert ada.check_password("größe 🌱")
    client = api(ada)
    user = User.objects.create_user(email="cat@example.org").pk
    newest = Task.objects.order_by("-pk").first().pk
    project = ask(client, "post", "/api/projects/", {"title": "Neu", "label_config": LABELS})["id"]
    ask(client, "post", f"/api/projects/{project}/import", [{"text": "neu"}])
    [task] = ask(client, "get", f"/api/tasks?project={project}")["tasks"]
    value = {"from_name": "kind", "to_name": "text", "type": "choices", "value": {"choices": ["🌱"]}, "id": "n"}
    annotation = ask(client, "post", f"/api/tasks/{task['id']}/annotations/", {"result": [value]})
    prediction = ask(client, "post", "/api/predictions/", {"task": task["id"], "result": [value], "score": 0.5})
    try:
        with transaction.atomic():
            User.objects.create_user(email="bob@example.org")
        taken = ""
    except IntegrityError as error:
        taken = type(error).__name__
    first = Project.objects.order_by("pk").first()
    old = Task.objects.filter(project=first, annotations__isnull=False).order_by("pk").first()
    ask(client, "delete", f"/api/tasks/{old.pk}/")
    ask(client, "delete", f"/api/projects/{Project.objects.order_by('pk')[1].pk}/")
    call_command("migrate", verbosity=0)
    told = {
        "new": [user, project, annotation["id"], prediction["id"]],
        "task": task["id"] > newest,  # in SQLite Label Studio counts them by itself, and gives numbers again
        "taken": taken,
        "left": [Project.objects.count(), Task.objects.count(), Annotation.objects.count()],
        "next": ask(client, "get", f"/api/projects/{first.pk}/next")["id"],
    }
    print(json.dumps(told))


COMMANDS = {"fill": fill, "create": create, "start": start, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        configure(sys.argv[2], name)
        COMMANDS[sys.argv[1]]()
        if sys.argv[1] in {"fill", "create", "start"}:
            print("null")  # the last line is the answer, and migrations print lines of their own
