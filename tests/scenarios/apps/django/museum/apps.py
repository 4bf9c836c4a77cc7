"""Names the application for Django."""

from django.apps import AppConfig


class MuseumConfig(AppConfig):
    """The museum, whose keys are of eight bytes."""

    name = "museum"
    default_auto_field = "django.db.models.BigAutoField"
