from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from keyturn_django.permissions import HasScopes


@api_view()
def whoami(request):
    return Response({"user": type(request.user).__name__, "id": request.user.pk, "session": request.auth["sid"]})


class Orders(APIView):
    permission_classes = [HasScopes]
    required_scopes = ["orders.read"]

    def get(self, request):
        return Response({})


urlpatterns = [path("whoami", whoami), path("orders", Orders.as_view())]
