"""Web servers and frameworks, each asked twice over one connection by http.client."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from typing import Any

from tools.programs.entry import Family, rest
from tools.programs.families.standard import ask_http_client, ask_urllib

_family = Family("Web servers and frameworks")
_RIGHT = ["hello /0", "hello /1"]


def _add(name: str, server: Callable[[], Any], imports: str, **more: Any) -> None:
    _family.add(name, ask_http_client, _RIGHT, server=server, imports=imports, **more)


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b"hello " + scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def _wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = b"hello " + environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _by_uvicorn(app: Any) -> None:
    import uvicorn

    uvicorn.run(app, host="0.0.0.0", port=80, log_config=None)


# --- servers


def serve_uvicorn() -> None:
    _by_uvicorn(_asgi)


_add("uvicorn", serve_uvicorn, "uvicorn", ci=True, tried="`uvicorn.run`")


def serve_hypercorn() -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = ["0.0.0.0:80"]
    asyncio.run(serve(_asgi, config))


_add("hypercorn", serve_hypercorn, "hypercorn hypercorn.asyncio", ci=True, tried="its asyncio `serve`")


def serve_hypercorn_main() -> None:
    from hypercorn.config import Config
    from hypercorn.run import run

    config = Config()
    config.bind = ["0.0.0.0:80"]
    config.application_path = "tools.programs.families.web_servers:_asgi"
    config.workers = 0
    run(config)


_add(
    "hypercorn, its own main",
    serve_hypercorn_main,
    "hypercorn hypercorn.run",
    package="hypercorn",
    tried="`hypercorn.run.run` with `workers=0`",
)


def serve_daphne() -> None:
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    Server(_asgi, endpoints=build_endpoint_description_strings(host="0.0.0.0", port=80), signal_handlers=False).run()


_add("daphne", serve_daphne, "", fresh=("twisted", "daphne", "autobahn"), tried="Twisted's reactor over asyncio")


def serve_gunicorn() -> None:
    import gunicorn.app.base

    class App(gunicorn.app.base.BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            self.cfg.set("bind", "0.0.0.0:80")
            self.cfg.set("workers", 1)

        def load(self) -> Any:
            return _wsgi

    App().run()


_add("gunicorn", serve_gunicorn, "gunicorn.app.base", is_refused=True, tried="one worker, which is a process")


def serve_waitress() -> None:
    import waitress

    waitress.serve(_wsgi, host="0.0.0.0", port=80)


_add("waitress", serve_waitress, "waitress", ci=True)


def serve_cheroot() -> None:
    from cheroot.wsgi import Server

    Server(("0.0.0.0", 80), _wsgi).start()


_add("cheroot", serve_cheroot, "cheroot.wsgi", ci=True)


def serve_granian() -> None:
    import granian

    granian.Granian("tools.programs.families.web_servers:_asgi", address="0.0.0.0", port=80, interface="asgi").serve()


_add("granian", serve_granian, "granian", is_refused=True, tried="its network is written in Rust")


def serve_gevent() -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer(("0.0.0.0", 80), _wsgi).serve_forever()


_add("gevent", serve_gevent, "gevent gevent.pywsgi", is_refused=True, tried="`pywsgi`", ci=True)


def serve_eventlet() -> None:
    import eventlet.wsgi

    eventlet.wsgi.server(eventlet.listen(("0.0.0.0", 80)), _wsgi)


_add("eventlet", serve_eventlet, "", is_refused=True, tried="`eventlet.wsgi`", ci=True)


# --- frameworks


def serve_aiohttp() -> None:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.path}")

    app = web.Application()
    app.add_routes([web.get("/{name}", hello)])
    web.run_app(app, host="0.0.0.0", port=80, print=lambda *words: None)


_add("aiohttp.web", serve_aiohttp, "aiohttp aiohttp.web", package="aiohttp", ci=True, tried="`web.run_app`")


def serve_starlette() -> None:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def hello(request: Any) -> PlainTextResponse:  # in a thread of a pool
        return PlainTextResponse(f"hello {request.url.path}")

    _by_uvicorn(Starlette(routes=[Route("/{name}", hello)]))


_add("starlette", serve_starlette, "uvicorn starlette.applications", ci=True, tried="uvicorn; an endpoint in a thread")


def serve_fastapi() -> None:
    import fastapi

    app = fastapi.FastAPI()

    @app.get("/{name}", response_class=fastapi.responses.PlainTextResponse)
    async def hello(name: str) -> str:
        return f"hello /{name}"

    _by_uvicorn(app)


_add("fastapi", serve_fastapi, "uvicorn fastapi fastapi.responses", ci=True, tried="uvicorn")


def serve_flask() -> None:
    import flask

    app = flask.Flask("shop")

    @app.get("/<name>")
    def hello(name: str) -> str:
        return f"hello /{name}"

    app.run("0.0.0.0", 80)


_family.add("flask", ask_urllib, _RIGHT, server=serve_flask, imports="flask", ci=True, tried="`app.run`, with threads")


def serve_flask_debug() -> None:
    import flask

    app = flask.Flask("shop")

    @app.get("/<name>")
    def hello(name: str) -> str:
        return f"hello /{name}"

    app.run("0.0.0.0", 80, debug=True, use_reloader=False)


_family.add(
    "flask, debug",
    ask_urllib,
    _RIGHT,
    server=serve_flask_debug,
    package="flask",
    imports="flask",
    tried="`debug=True`, without the reloader, which starts processes",
)


def serve_werkzeug() -> None:
    from werkzeug.serving import run_simple

    run_simple("0.0.0.0", 80, _wsgi, threaded=True)


_family.add(
    "werkzeug", ask_urllib, _RIGHT, server=serve_werkzeug, imports="werkzeug.serving", tried="`run_simple`", ci=True
)


def serve_django() -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.http import HttpResponse
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=(path("<str:name>", lambda request, name: HttpResponse(f"hello /{name}")),),
        SECRET_KEY="s",
        USE_TZ=True,
        DEBUG=True,
    )
    django.setup()
    call_command("runserver", "0.0.0.0:80", use_reloader=False, skip_checks=True)


_family.add(
    "django", ask_urllib, _RIGHT, server=serve_django, fresh=("django",), tried="`runserver --noreload`", ci=True
)


def serve_bottle() -> None:
    import bottle

    app = bottle.Bottle()
    app.route("/<name>", callback=lambda name: f"hello /{name}")
    app.run(host="0.0.0.0", port=80, quiet=True)


_family.add("bottle", ask_urllib, _RIGHT, server=serve_bottle, imports="bottle", ci=True)


def serve_tornado() -> None:
    import tornado.ioloop
    import tornado.web

    class Hello(tornado.web.RequestHandler):
        def get(self, name: str) -> None:
            self.write(f"hello /{name}")

    tornado.web.Application([("/(.*)", Hello)]).listen(80)
    tornado.ioloop.IOLoop.current().start()


async def serve_tornado_async() -> None:
    import tornado.web

    class Hello(tornado.web.RequestHandler):
        def get(self, name: str) -> None:
            self.write(f"hello /{name}")

    tornado.web.Application([("/(.*)", Hello)]).listen(80)
    await asyncio.get_running_loop().create_future()


_add("tornado", serve_tornado_async, "tornado.web", ci=True)
_add("tornado, IOLoop.start", serve_tornado, "tornado.web tornado.ioloop", package="tornado", ci=True)


def serve_sanic() -> None:
    from sanic import Sanic
    from sanic.response import text

    app = Sanic("shop")

    @app.get("/<name>")
    async def hello(request: Any, name: str) -> Any:
        return text(f"hello /{name}")

    app.run("0.0.0.0", 80, single_process=True, access_log=False, motd=False)


_add("sanic", serve_sanic, "", fresh=("sanic",), friction="`single_process=True`: its workers are processes")


def serve_quart() -> None:
    import quart

    app = quart.Quart("shop")

    @app.get("/<name>")
    async def hello(name: str) -> str:
        return f"hello /{name}"

    app.run("0.0.0.0", 80, use_reloader=False)


_add("quart", serve_quart, "quart", tried="`app.run`: hypercorn")


def serve_falcon() -> None:
    import falcon
    import waitress

    class Hello:
        def on_get(self, request: Any, response: Any, name: str) -> None:
            response.text = f"hello /{name}"

    app = falcon.App()
    app.add_route("/{name}", Hello())
    waitress.serve(app, host="0.0.0.0", port=80)


_add("falcon", serve_falcon, "falcon waitress", tried="waitress")


def serve_pyramid() -> None:
    import waitress
    from pyramid.config import Configurator
    from pyramid.response import Response

    with Configurator() as config:
        config.add_route("hello", "/{name}")
        config.add_view(lambda request: Response(f"hello {request.path}"), route_name="hello")
        app = config.make_wsgi_app()
    waitress.serve(app, host="0.0.0.0", port=80)


_add("pyramid", serve_pyramid, "pyramid.config pyramid.response waitress", tried="waitress")


def serve_litestar() -> None:
    import litestar

    @litestar.get("/{name:str}", media_type="text/plain")
    async def hello(name: str) -> str:
        return f"hello /{name}"

    _by_uvicorn(litestar.Litestar([hello]))


_add("litestar", serve_litestar, "litestar uvicorn", tried="uvicorn")


def serve_blacksheep() -> None:
    import blacksheep

    app = blacksheep.Application(show_error_details=True)

    @blacksheep.get("/{name}")
    async def hello(name: str) -> Any:
        return blacksheep.text(f"hello /{name}")

    _by_uvicorn(app)


_add("blacksheep", serve_blacksheep, "", fresh=("blacksheep",), tried="uvicorn")


def serve_cherrypy() -> None:
    import cherrypy

    class Hello:
        @cherrypy.expose
        def default(self, name: str) -> str:
            return f"hello /{name}"

    cherrypy.config.update({"server.socket_host": "0.0.0.0", "server.socket_port": 80, "log.screen": False})
    cherrypy.quickstart(Hello())


_add("CherryPy", serve_cherrypy, "", fresh=("cherrypy", "cheroot"), tried="`quickstart`, with its autoreloader")


def serve_twisted_web() -> None:
    from twisted.internet import reactor
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Hello(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> bytes:
            return b"hello " + request.path

    reactor.listenTCP(80, Site(Hello()))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


_add("twisted.web", serve_twisted_web, "", package="Twisted", fresh=("twisted",), ci=True, tried="epoll's reactor")


# --- streams


def serve_sse() -> None:
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def events(request: Any) -> EventSourceResponse:
        async def tell() -> Any:
            for number in range(3):
                yield {"data": number}
                await asyncio.sleep(1)

        return EventSourceResponse(tell(), ping=5)

    _by_uvicorn(Starlette(routes=[Route("/", events)]))


def read_events() -> list[str]:
    connection = http.client.HTTPConnection("server", 80, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    found = answer.readline().strip().decode()
    rest()
    return [found, *(line.strip().decode() for line in answer if line.startswith(b"data"))]


_family.add(
    "sse-starlette",
    read_events,
    ["data: 0", "data: 1", "data: 2"],
    server=serve_sse,
    imports="uvicorn sse_starlette starlette.applications",
    tried="events by uvicorn, with a ping every 5 s",
)
