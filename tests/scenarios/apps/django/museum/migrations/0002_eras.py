"""Inserts the eras that every museum begins with."""

from typing import Any, ClassVar

from django.db import migrations


def insert_eras(apps: Any, _editor: object) -> None:  # noqa: ANN401 - Django's models have no types here
    """Insert three eras, each with the moment of now."""
    for code in ("stone", "bronze", "iron"):
        apps.get_model("museum", "Era").objects.create(code=code, name=f"{code} age")


class Migration(migrations.Migration):
    """Inserts rows on both sides, which can't be equal."""

    dependencies: ClassVar = [("museum", "0001_initial")]
    operations: ClassVar = [migrations.RunPython(insert_eras, migrations.RunPython.noop)]
