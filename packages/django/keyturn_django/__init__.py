"""Keyturn's access tokens in Django REST framework. README.md has the settings."""

__version__ = "0.1.0"
