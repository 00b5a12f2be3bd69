"""Schemathesis calls the API as the demo administrator, who may call every operation."""

import os
import re

import requests
import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

URL = os.environ["WAYBILL_URL"] + "/api/v1/auth/"

# Rules that no schema describes. Every other valid request is accepted.
RULES = (
    "contains an invisible character",
    "visible characters, not only blanks",
    "twice; a step has one fault",
    "is in the order already",
    "is one of the most common passwords",
    "is not your password",
    "is not the current refresh token of one of your sessions",
    "is not a currency",
    "is not a cursor of this list",
)


# An administrator's token lives two minutes.
@schemathesis.auth(refresh_interval=60)
class AccessToken:
    session = None

    def get(self, case, context):
        # Schemathesis fails many logins. A valid refresh token is never delayed.
        path, body = ("refresh", {"refresh_token": self.session}) if self.session else ("login", None)
        account = {"email": os.environ["WAYBILL_EMAIL"], "password": os.environ["WAYBILL_PASSWORD"]}
        answer = requests.post(URL + path, json=body or account, timeout=60)
        answer.raise_for_status()
        tokens = answer.json()
        self.session = tokens["refresh_token"]
        return tokens["access_token"]

    def set(self, case, token, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


@schemathesis.check
def valid_data_keeps_every_rule(context, response, case):
    """A 400 to valid data names one of the rules. It is no failure of positive_data_acceptance."""
    if response.status_code != 400 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for error in response.json()["errors"]:
        is_known = any(rule in error["detail"] for rule in RULES)
        assert is_known or not follows_schema(case, error.get("header")), error


@schemathesis.check
def wrong_data_is_refused(context, response, case):
    """As negative_data_rejection, but a header that is repeated with the same value counts once."""
    values = (case.headers or {}).get("Idempotency-Key", "").split(",")
    if len(values) == 1 or len(set(values)) > 1:
        negative_data_rejection(context, response, case)


def follows_schema(case, name):
    """Whether a header matches its pattern. Schemathesis also sends `0` for a pattern that it cannot generate."""
    schemas = {header.name: header.definition["schema"] for header in case.operation.headers}
    pattern = schemas.get(name, {}).get("pattern", "")
    return re.search(pattern, (case.headers or {}).get(name, "")) is not None
