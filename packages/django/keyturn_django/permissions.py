"""Scopes of tokens, for permission_classes."""

from rest_framework.permissions import BasePermission


class HasScopes(BasePermission):
    """403 unless the token's `scope` claim has everything in the view's `required_scopes`."""

    def has_permission(self, request, view):
        scope = request.auth.get("scope") if isinstance(request.auth, dict) else None
        return set(view.required_scopes) <= set(scope.split() if isinstance(scope, str) else [])
