"""The paths of the shop."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.notes),
    path("visit", views.visit),
    path("log", views.log),
    path("healthz", views.health),
]
