"""Django REST framework's Simple JWT, for Gunicorn: `gunicorn simplejwt:application`; as a script it migrates and adds the users.

PEER is a JSON object: database_url, secret, users, password, argon2 (memory, time, parallelism).
HS256 is Simple JWT's default, and the cheapest for it. Rotation and blacklist as its page on the blacklist says
(https://django-rest-framework-simplejwt.readthedocs.io/en/latest/blacklist_app.html). Connections to PostgreSQL are kept
(https://docs.djangoproject.com/en/stable/ref/databases/#persistent-connections), passwords are argon2id
(https://docs.djangoproject.com/en/stable/topics/auth/passwords/#using-argon2-with-django), DEBUG is off, of the middleware only what
the deployment checklist asks for, and only JSON is parsed and rendered.
"""

import json
import os
from datetime import timedelta
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

peer = json.loads(os.environ["PEER"])
url = urlsplit(peer["database_url"])


class Hasher(Argon2PasswordHasher):
    memory_cost = peer["argon2"]["memoryCost"]
    time_cost = peer["argon2"]["timeCost"]
    parallelism = peer["argon2"]["parallelism"]


settings.configure(
    SECRET_KEY=peer["secret"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
    ],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "USER": url.username,
            "HOST": url.hostname,
            "PORT": url.port,
            "CONN_MAX_AGE": None,
        }
    },
    PASSWORD_HASHERS=[f"{__name__}.Hasher"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    SIMPLE_JWT={
        "ACCESS_TOKEN_LIFETIME": timedelta(days=1),
        "ROTATE_REFRESH_TOKENS": True,
        "BLACKLIST_AFTER_ROTATION": True,
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 (these need the settings)
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView, TokenVerifyView  # noqa: E402

urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/token/verify/", TokenVerifyView.as_view()),
]
application = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name in peer["users"]:
        User.objects.create_user(name, password=peer["password"])
