"""The application's requests, counted from before the look at the flag until their answer ends."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from maintenance_wsgi.state.in_flight import Book


@dataclass(frozen=True, slots=True)
class CountedApplication:
    """Answers requests that found maintenance off at the last look, and counts them.

    A request counts itself before it looks. So a request that has missed the flag was in the book
    before the flag was in place, and an operator who reads the book afterwards finds it.
    """

    application: WSGIApplication
    book: Book
    look: Callable[[], os.stat_result | None]
    gate: WSGIApplication  # answers if maintenance is on
    is_exempt: Callable[[WSGIEnvironment], bool] | None  # a path that is exempt anyway

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        request = self.book.begin()
        is_on = self.look() is not None
        if is_on or (self.is_exempt and self.is_exempt(environ)):
            self.book.end(request)
            return (self.gate if is_on else self.application)(environ, start_response)
        try:
            answer = self.application(environ, start_response)
        except BaseException:
            self.book.end(request)
            raise
        if isinstance(answer, list | tuple) or _is_file(answer, environ):
            self.book.end(request)
            return answer
        return _CountedAnswer(answer, self.book, request)


class _CountedAnswer:
    """An answer that ends with its `close()`, or when a broken server drops it without."""

    __slots__ = ("_answer", "_book", "_request")

    def __init__(self, answer: Iterable[bytes], book: Book, request: int) -> None:
        self._answer = answer
        self._book = book
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        # Not `yield from`, which would close the application's iterator, a second time.
        for chunk in self._answer:  # noqa: UP028 (as said)
            yield chunk

    def close(self) -> None:
        try:
            if close := getattr(self._answer, "close", None):
                close()
        finally:
            self._end()

    def _end(self) -> None:
        request, self._request = self._request, 0
        if request:
            self._book.end(request)

    __del__ = _end


def _is_file(answer: object, environ: WSGIEnvironment) -> bool:
    """Tell whether an answer is what the server made of a file, to send it by itself."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type):
        return isinstance(answer, wrapper)
    # uWSGI's is a function, which returns the file itself.
    return wrapper is not None and hasattr(answer, "read")
