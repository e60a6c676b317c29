"""request.user: a row of this project's table, or what the token says."""

import hashlib

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from .exceptions import Unauthorized
from .settings import Settings


class TokenUser:
    """
    The user of a token, without a database, with the attributes of Simple JWT's TokenUser. Any other claim is an
    attribute, and one that is absent is None.
    """

    is_active = True
    is_anonymous = False
    is_authenticated = True

    def __init__(self, user_id: str, claims: dict):
        self.token = claims
        self.id = self.pk = user_id
        self.username = claims.get("username", "")
        self.is_staff = claims.get("is_staff", False)
        self.is_superuser = claims.get("is_superuser", False)

    def __getattr__(self, name):
        if name.startswith("__") or name == "token":
            raise AttributeError(name)
        return self.token.get(name)

    def __str__(self):
        return f"TokenUser {self.id}"

    def __eq__(self, other):
        return isinstance(other, TokenUser) and self.id == other.id

    def __hash__(self):
        return hash(self.id)

    def get_username(self):
        return self.username

    def get_group_permissions(self, obj=None):
        return set()

    def get_all_permissions(self, obj=None):
        return set()

    def has_perm(self, perm, obj=None):
        return False

    def has_perms(self, perms, obj=None):
        return False

    def has_module_perms(self, module):
        return False


def find_user(user_id: str, claims: dict, settings: Settings):
    """The user of these claims. Raises Unauthorized, as Simple JWT does, if this project's table lacks them."""
    if settings.user_id_field is None:
        return TokenUser(user_id, claims)
    model = get_user_model()
    try:
        user = model._default_manager.get(**{settings.user_id_field: user_id})
    except (model.DoesNotExist, ValueError, OverflowError, ValidationError) as error:
        # The others: an id that the field cannot hold, such as a UUID where the table has numbers.
        raise Unauthorized("User not found", "user_not_found") from error
    if not user.is_active:
        raise Unauthorized("User is inactive", "user_inactive")
    if settings.check_revoke_token and claims.get("hash_password") != _fingerprint(user.password):
        raise Unauthorized("The user's password has been changed.", "password_changed")
    return user


def _fingerprint(digest: str) -> str:
    """As Simple JWT's get_md5_hash_password has it: only compared, and the digest under it is salted and slow."""
    return hashlib.md5(digest.encode()).hexdigest().upper()
