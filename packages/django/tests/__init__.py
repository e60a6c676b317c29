"""python3 -m unittest, in packages/django. Needs Django, Django REST framework and PyJWT with cryptography."""

import logging

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="not used for tokens, and long enough for Django",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF="tests.urls",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["keyturn_django.authentication.KeyturnAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    },
    KEYTURN={"ISSUER": "http://127.0.0.1:1", "REVOCATIONS": "none"},
)
django.setup()
logging.getLogger("keyturn_django").setLevel(logging.CRITICAL)  # assertLogs sets its own
