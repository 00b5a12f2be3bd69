"""Calls AWS for a program that has no AWS SDK: one JSON request a line in, one JSON answer a line out."""

import base64
import datetime
import decimal
import json
import os
import sys

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

CONFIG = Config(connect_timeout=5, read_timeout=120, retries={"total_max_attempts": 3})
clients = {}


def client(service):
    if service not in clients:
        clients[service] = boto3.client(service, config=CONFIG)
    return clients[service]


def plain(value):
    """What JSON has no word for, in words it has."""
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == int(value) else float(value)
    raise TypeError(f"{type(value).__name__} in an answer")


def bytes_again(value):
    """The other way round, for what goes out as it came in."""
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


def answer(request):
    try:
        if request.get("region"):
            return {"ok": boto3.session.Session().region_name}
        service, operation = client(request["service"]), xform_name(request["operation"])
        if request.get("pages"):
            return {"ok": service.get_paginator(operation).paginate(**request["params"]).build_full_result()}
        result = getattr(service, operation)(**request["params"])
        result.pop("ResponseMetadata", None)
        return {"ok": result}
    except ClientError as error:
        detail = error.response.get("Error", {})
        return {"error": {"code": detail.get("Code", "Unknown"), "message": detail.get("Message", str(error))}}
    except (BotoCoreError, ParamValidationError, AttributeError) as error:
        return {"error": {"code": type(error).__name__, "message": str(error)}}


# Answers have a channel of their own, so that nothing a library prints gets among them.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
for line in sys.stdin:
    answers.write(json.dumps(answer(json.loads(line, object_hook=bytes_again)), default=plain) + "\n")
