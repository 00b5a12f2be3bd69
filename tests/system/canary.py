#!/usr/bin/env python3
"""A bad version of a function: the good one, behind a Runtime API that spoils its answers."""

import http.client
import http.server
import os
import random
import time

REAL, PARENT = os.environ["AWS_LAMBDA_RUNTIME_API"], os.getpid()


class RuntimeApi(http.server.BaseHTTPRequestHandler):
    def relay(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.endswith("/response"):
            if "{{fault}}" == "slow":
                time.sleep(3.2)
            elif random.random() < 0.2:
                body = b'{"statusCode": 500, "body": "{}"}'
        headers = {name: value for name, value in self.headers.items() if name.lower().startswith("lambda-")}
        real = http.client.HTTPConnection(REAL)
        real.request(self.command, self.path, body, headers)
        answer = real.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower().startswith(("lambda-", "content-type")):
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = relay

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
if os.fork():
    os.environ["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{server.server_port}"
    server.server_close()
    os.execv("{{good}}", ["{{good}}"])
server.timeout = 1
while os.getppid() == PARENT:
    server.handle_request()
