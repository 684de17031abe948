"""HTTP clients, against a server of http.server that keeps connections; each asks twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.programs.entry import Family, arest, rest, rests
from tools.programs.servers.web import serve_http

_family = Family("HTTP clients")
_RIGHT = ["hello /0", "hello /1"]


def _add(name: str, client: Callable[[], Any], imports: str, **more: Any) -> None:
    _family.add(name, client, _RIGHT, server=serve_http, imports=imports, **more)


def _ask(get: Callable[[str], str]) -> list[str]:
    texts = [get("http://server/0")]
    rest()
    return [*texts, get("http://server/1")]


async def _ask_async(get: Callable[[str], Any]) -> list[str]:
    texts = [await get("http://server/0")]
    await arest()
    return [*texts, await get("http://server/1")]


def ask_requests() -> list[str]:
    import requests

    with requests.Session() as session:
        return _ask(lambda url: session.get(url, timeout=5).text)


_add("requests", ask_requests, "requests", ci=True, tried="a session, `timeout=5`")


def ask_requests_patiently() -> list[str]:
    import requests

    with requests.Session() as session:
        return _ask(lambda url: session.get(url).text)


_add(
    "requests, no time-out",
    ask_requests_patiently,
    "requests",
    package="requests",
    ci=True,
    tried="a session, as most write it",
)


def ask_urllib3() -> list[str]:
    import urllib3

    with urllib3.PoolManager() as pool:
        return _ask(lambda url: pool.request("GET", url, timeout=5, retries=2).data.decode())


_add("urllib3", ask_urllib3, "urllib3", ci=True, tried="a pool, `timeout=5`, `retries=2`")


def ask_httpx() -> list[str]:
    import httpx

    with httpx.Client() as session:
        return _ask(lambda url: session.get(url).text)


_add("httpx", ask_httpx, "httpx", ci=True, tried="`Client`")


async def ask_httpx_async() -> list[str]:
    import httpx

    async with httpx.AsyncClient() as session:

        async def get(url: str) -> str:
            return (await session.get(url)).text

        return await _ask_async(get)


_add("httpx, AsyncClient", ask_httpx_async, "httpx", package="httpx", ci=True)


def ask_httpcore() -> list[str]:
    import httpcore

    with httpcore.ConnectionPool() as pool:
        return _ask(lambda url: pool.request("GET", url).content.decode())


_add("httpcore", ask_httpcore, "httpcore", tried="no time-out")


async def ask_aiohttp() -> list[str]:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def get(url: str) -> str:
            async with session.get(url) as response:
                return await response.text()

        return await _ask_async(get)


_add("aiohttp", ask_aiohttp, "aiohttp", ci=True, tried="`ClientSession`")


def ask_httplib2() -> list[str]:
    import httplib2

    web = httplib2.Http(timeout=5)
    return _ask(lambda url: web.request(url)[1].decode())


_add("httplib2", ask_httplib2, "httplib2", ci=True)


def ask_niquests() -> list[str]:
    import niquests

    with niquests.Session() as session:
        return _ask(lambda url: session.get(url, timeout=5).text)


_add("niquests", ask_niquests, "niquests")


async def ask_niquests_async() -> list[str]:
    import niquests

    async with niquests.AsyncSession() as session:

        async def get(url: str) -> Any:
            return (await session.get(url, timeout=5)).text

        return await _ask_async(get)


_add("niquests, AsyncSession", ask_niquests_async, "niquests", package="niquests")


async def ask_tornado() -> list[str]:
    from tornado.httpclient import AsyncHTTPClient

    web = AsyncHTTPClient()

    async def get(url: str) -> str:
        return (await web.fetch(url)).body.decode()

    return await _ask_async(get)


_add(
    "tornado.httpclient",
    ask_tornado,
    "tornado.httpclient",
    package="tornado",
    ci=True,
    tried="`AsyncHTTPClient`, 20 s by default",
)


async def ask_aiosonic() -> list[str]:
    import aiosonic

    async with aiosonic.HTTPClient() as web:

        async def get(url: str) -> Any:
            return await (await web.get(url)).text()

        return await _ask_async(get)


_add("aiosonic", ask_aiosonic, "aiosonic")


def ask_treq() -> list[str]:
    import treq
    from twisted.internet import defer, task

    texts: list[str] = []

    async def main(reactor: Any) -> None:
        for number in range(2):
            response = await treq.get(f"http://server/{number}", timeout=10)
            texts.append(await response.text())
            if not number:
                await task.deferLater(reactor, 2)
                rests.append(reactor.seconds())

    try:
        task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"status {end.code}, and the reason is logged") from None
    return texts


_add("treq", ask_treq, "", fresh=("twisted", "treq"), tried="Twisted's client; `timeout=10`")


def ask_scrapy() -> list[str]:
    import scrapy
    from scrapy.crawler import CrawlerProcess

    texts: list[str] = []

    class Spider(scrapy.Spider):  # type: ignore[misc]
        name = "shop"
        start_urls = ("http://server/0", "http://server/1")

        def parse(self, response: Any) -> None:
            texts.append(response.text)

    process = CrawlerProcess({"LOG_ENABLED": False, "TELNETCONSOLE_ENABLED": False}, install_root_handler=False)
    process.crawl(Spider)
    process.start(install_signal_handlers=False)
    return sorted(texts)


_add("scrapy", ask_scrapy, "", fresh=("twisted", "scrapy"), package="Scrapy", tried="a spider on Twisted's reactor")


def ask_pycurl() -> list[str]:
    import pycurl

    def get(url: str) -> str:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        return str(curl.perform_rs())

    return _ask(get)


_add("pycurl", ask_pycurl, "pycurl", is_refused=True, ci=True)


def ask_curl_cffi() -> list[str]:
    from curl_cffi import requests

    with requests.Session() as session:
        return _ask(lambda url: str(session.get(url, timeout=5).text))


_add("curl_cffi", ask_curl_cffi, "curl_cffi.requests", is_refused=True)


def ask_grequests() -> list[str]:
    import grequests

    return [answer.text for answer in grequests.map(grequests.get(f"http://server/{n}") for n in range(2))]


_add("grequests", ask_grequests, "", is_refused=True, tried="gevent patches the library")


def ask_urllib3_many() -> list[str]:
    """Twenty threads share ten connections."""
    from concurrent.futures import ThreadPoolExecutor

    import requests

    with requests.Session() as session, ThreadPoolExecutor(20) as pool:
        first = list(pool.map(lambda n: session.get(f"http://server/{n % 2}", timeout=30).text, range(40)))
        rest()
        again = list(pool.map(lambda n: session.get(f"http://server/{n % 2}", timeout=30).text, range(40)))
        return [*sorted(set(first) & set(again))]


_add(
    "requests, twenty threads",
    ask_urllib3_many,
    "requests",
    package="requests",
    tried="one session in a pool of threads",
)


def ask_zeep() -> list[str]:
    import zeep

    service = zeep.Client("http://server/wsdl", transport=zeep.Transport(timeout=5, operation_timeout=5)).service
    return [service.upper("one"), (rest(), service.upper("two"))[1]]  # type: ignore[func-returns-value]


_WSDL = b"""<?xml version="1.0"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t" name="T">
<types><xsd:schema targetNamespace="urn:t" elementFormDefault="qualified">
<xsd:element name="upper"><xsd:complexType><xsd:sequence><xsd:element name="word" type="xsd:string"/></xsd:sequence></xsd:complexType></xsd:element>
<xsd:element name="upperResponse"><xsd:complexType><xsd:sequence><xsd:element name="word" type="xsd:string"/></xsd:sequence></xsd:complexType></xsd:element>
</xsd:schema></types>
<message name="in"><part name="parameters" element="t:upper"/></message>
<message name="out"><part name="parameters" element="t:upperResponse"/></message>
<portType name="P"><operation name="upper"><input message="t:in"/><output message="t:out"/></operation></portType>
<binding name="B" type="t:P"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
<operation name="upper"><soap:operation soapAction="upper"/><input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation></binding>
<service name="S"><port name="P" binding="t:B"><soap:address location="http://server/soap"/></port></service>
</definitions>"""


def serve_soap() -> None:
    from tools.programs.servers.web import serve

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        kind = {"Content-Type": "text/xml"}
        if method == "GET":
            return 200, kind, _WSDL
        word = body.partition(b"word>")[2].partition(b"<")[0].upper()
        return (
            200,
            kind,
            (
                b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><upperResponse xmlns="urn:t">'
                b"<word>" + word + b"</word></upperResponse></e:Body></e:Envelope>"
            ),
        )

    serve(answer, 80)


_family.add("zeep", ask_zeep, ["ONE", "TWO"], server=serve_soap, imports="zeep", tried="SOAP")
