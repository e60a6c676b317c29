from django.urls import path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from keyturn_django.permissions import HasScopes


@api_view()
def whoami(request):
    return Response({"user": type(request.user).__name__, "id": request.user.pk, "session": request.auth["sid"]})


@api_view()
@permission_classes([AllowAny])
def open_to_all(request):
    return Response({"authenticated": bool(request.user and request.user.is_authenticated)})


class Orders(APIView):
    permission_classes = [HasScopes]
    required_scopes = ["orders.read"]

    def get(self, request):
        return Response({})


urlpatterns = [path("whoami", whoami), path("open", open_to_all), path("orders", Orders.as_view())]
