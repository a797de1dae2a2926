"""The pages of the shop: a list of notes, and two views that write."""

from html import escape

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from shop.models import Note


def notes(request: HttpRequest) -> HttpResponse:
    """Show the notes, and add one."""
    if request.method == "POST":
        Note.objects.create(text=request.POST.get("note", ""))
        return HttpResponseRedirect("/")
    items = "".join(f"<li>{escape(note.text)}</li>\n" for note in Note.objects.all())
    form = "<form method=post><input name=note><button>Add</button></form>"
    return HttpResponse(f"<ul>\n{items}</ul>\n{form}\n")


def visit(_: HttpRequest) -> HttpResponse:
    """Write on GET, as no view should."""
    Note.objects.create(text="a visit")
    return HttpResponse("Welcome\n")


def log(request: HttpRequest) -> HttpResponse:
    """Write in read-only mode too: the path is one of the gate's `write_paths`."""
    Note.objects.create(text="an entry of the log")
    return HttpResponse(f"Took {request.method}\n")


def health(_: HttpRequest) -> HttpResponse:
    """Answer a balancer's check while maintenance is off; the gate does it while it is on."""
    return HttpResponse("ok\n")
