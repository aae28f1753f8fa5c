"""Sends e-mail through real mail servers (aiosmtpd): with a log-in, with STARTTLS, encrypted from the start, and with certificates that are
not to be trusted. Starts a Kith of its own: smtp_servers.py KITH."""

import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

USER, PASSWORD = b"ada", b"a long password"


class Inbox:
    """Keeps what it is given, and whether it came encrypted from somebody who logged in."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.rcpt_tos, envelope.content, server.transport.get_extra_info("sslcontext") is not None, session.authenticated))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (USER, PASSWORD), handled=False)


def ask(base, method, path, body=None, key=None):
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, data, headers, method=method), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="kith-mail-"))
    # As root, Kith runs PostgreSQL as another user, which must be able to reach the data directory.
    work.chmod(0o711)
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(work / "authority.pem")
    contexts = []
    for issuer, name in ((authority, "localhost"), (authority, "other.example"), (stranger, "localhost")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert(name).configure_cert(context)
        contexts.append(context)
    known, misnamed, unknown = contexts
    login = {"authenticator": authenticate, "auth_required": True}
    inboxes = {}

    def serve(name, **options):
        inboxes[name] = Inbox()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        Controller(inboxes[name], hostname="127.0.0.1", port=port, **options).start()
        return port

    servers = {
        "a log-in": (f"smtp://ada:a%20long%20password@localhost:{serve('a log-in', auth_require_tls=False, **login)}?tls=none", False),
        "STARTTLS": (f"smtp://ada:a%20long%20password@localhost:{serve('STARTTLS', tls_context=known, require_starttls=True, **login)}?tls=required", True),
        "TLS": (f"smtps://ada:a%20long%20password@localhost:{serve('TLS', ssl_context=known, auth_require_tls=False, **login)}", True),
    }
    refused = {
        "another name": f"smtp://localhost:{serve('another name', tls_context=misnamed)}?tls=required",
        "an unknown authority": f"smtp://localhost:{serve('an unknown authority', tls_context=unknown)}?tls=required",
        "another name, TLS": f"smtps://localhost:{serve('another name, TLS', ssl_context=misnamed)}",
        "no STARTTLS": f"smtp://localhost:{serve('no STARTTLS')}?tls=required",
        "a wrong password": f"smtp://ada:wrong-password@localhost:{serve('a wrong password', auth_require_tls=False, **login)}?tls=none",
    }

    environment = os.environ | {"KITH_ALLOW_PRIVATE_TARGETS": "1", "SSL_CERT_FILE": str(work / "authority.pem"), "KITH_RATE_LIMIT": "0"}
    line = [sys.argv[1], "serve", "--listen", "127.0.0.1:0", "--data-dir", str(work / "data"), "--warm-databases", "1"]
    with (work / "log").open("w") as log:
        kith = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        base = kith.stdout.readline().split()[-1]
        key = ask(base, "POST", "/v1/workspaces", {})[1]["data"]["api_key"]
        mail = {"from": "ada@shop.example", "to": "bob@x.example", "subject": "Hello", "text": "Hi"}
        for name, (url, is_encrypted) in servers.items():
            settings = {"provider": "smtp", "url": url, "from_email": "ada@shop.example"}
            status, answer = ask(base, "PUT", "/v1/integrations/email", settings, key)
            assert status == 200 and answer["data"]["verified"], (name, answer)
            status, answer = ask(base, "POST", "/v1/emails", mail, key)
            assert (status, answer["data"]["status"]) == (201, "sent"), (name, answer, (work / "log").read_text()[-2000:])
            [(recipients, content, encrypted, authenticated)] = inboxes[name].mails
            assert recipients == ["bob@x.example"] and b"Subject: Hello" in content and authenticated, (name, content)
            assert encrypted == is_encrypted, name
        for name, url in refused.items():
            settings = {"provider": "smtp", "url": url, "from_email": "ada@shop.example"}
            status, answer = ask(base, "PUT", "/v1/integrations/email", settings, key)
            assert status == 200 and not answer["data"]["verified"], (name, answer)
            status, answer = ask(base, "POST", "/v1/emails", mail, key)
            # What may be mended at the server waits, and what is wrong in the settings fails.
            assert status in (202, 422), (name, answer)
            said = json.dumps(answer)
            assert not inboxes[name].mails and "wrong-password" not in said, (name, said)
    finally:
        kith.terminate()
        kith.wait()
    print(f"{len(servers)} servers have the mail, and {len(refused)} get none")


main()
