"""Names the application for Django."""

from django.apps import AppConfig


class PressConfig(AppConfig):
    """The press, whose keys are of eight bytes."""

    name = "press"
    default_auto_field = "django.db.models.BigAutoField"
