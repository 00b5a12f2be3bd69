"""Starts MiniStack with corrections. Each comment says how AWS and MiniStack differ."""

import contextvars
import queue
import random
import socket
import socketserver
import sys
import time
import types

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import apigateway, cloudformation, cloudwatch_logs, dynamodb, lambda_svc, sqs
from ministack.services.cloudformation import engine, provisioners

# For each idle execution environment, MiniStack looks twenty times a second whether the environment has to
# stop. After some load there are hundreds, and the looks take a whole core.
class Events(queue.Queue):
    def get(self, block=True, timeout=None):
        # The queue of events has one place. The process behind it is killed, so it need not be told soon.
        return super().get(block, 10 if self.maxsize == 1 else timeout)


lambda_runtime.queue = types.SimpleNamespace(Queue=Events, Empty=queue.Empty, Full=queue.Full)
serve = socketserver.BaseServer.serve_forever


def stop(server):
    server._BaseServer__shutdown_request = True
    # A connection wakes the server.
    with socket.create_connection(server.server_address, timeout=1):
        server._BaseServer__is_shut_down.wait()


socketserver.BaseServer.serve_forever = lambda server, poll_interval=None: serve(server, 60)
socketserver.BaseServer.shutdown = stop

# MiniStack sends a function its event in two packets. The second waits 40 ms for the confirmation of the first.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# AWS has no actions for the batch forms of SQS calls: the action of the single form allows them
# (Service Authorization Reference, Amazon SQS). MiniStack checks an action with the batch's name.
AUTHORIZED_AS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}

original = iam_actions.extract_iam_action


def corrected(*arguments, **named):
    action = original(*arguments, **named)
    return AUTHORIZED_AS.get(action, action)


iam_actions.extract_iam_action = corrected

# MiniStack's triggers receive messages while it saves its state. It saves queues one after another, so a
# message that moves to its dead-letter queue meanwhile is saved twice or not at all.
unguarded = sqs.get_state


def guarded():
    with sqs._queues_lock:
        return unguarded()


sqs.get_state = guarded

# Other state can change while MiniStack copies it, for instance logs. MiniStack then skips that service.
save_all = app.save_all


def settled(get_state):
    def state(tries=50):
        try:
            return get_state()
        except RuntimeError:  # dictionary changed size during iteration
            if tries == 0:
                raise
        time.sleep(0.1)
        return state(tries - 1)

    return state


app.save_all = lambda services: save_all({name: settled(get_state) for name, get_state in services.items()})

# The queues refuse calls without TLS, which the local address does not have. On AWS, functions and tools
# use TLS, because the endpoints begin with https.
resolve = iam_evaluator._resolve_condition_key


def over_tls(key, context):
    return "true" if key.lower() == "aws:securetransport" else resolve(key, context)


iam_evaluator._resolve_condition_key = over_tls

# AWS transforms the template of a nested stack like any other. MiniStack transforms only the root's.
parse, deploy_nested = engine._parse_template, provisioners._cfn_nested_stack_deploy
nested_parameters = contextvars.ContextVar("nested_parameters", default=None)


def parsed(body):
    template = parse(body)
    parameters = nested_parameters.get()
    return template if parameters is None else engine._apply_transforms(template, parameters)


def deployed(logical_id, properties, parent, **named):
    given = (properties.get("Parameters") or {}).items()
    token = nested_parameters.set([{"Key": key, "Value": str(value)} for key, value in given])
    try:
        return deploy_nested(logical_id, properties, parent, **named)
    finally:
        nested_parameters.reset(token)


engine._parse_template, provisioners._cfn_nested_stack_deploy = parsed, deployed

# On AWS, a resource that an update does not change keeps its attributes. MiniStack forgets those of nested
# stacks, and references to them fail.
update_resource = provisioners._update_resource


def updated(kind, physical_id, old, new, stack, logical_id=None, attributes=None):
    if attributes is None:
        resources = cloudformation._stacks.get(stack, {}).get("_resources", {})
        attributes = resources.get(logical_id, {}).get("Attributes")
    return update_resource(kind, physical_id, old, new, stack, logical_id, attributes)


provisioners._update_resource = updated

# The template's CORS has names in capitals, which MiniStack keeps. Its gateway reads others.
apis = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]


def with_cors(handler):
    def renamed(argument):
        cors = argument.get("CorsConfiguration") if isinstance(argument, dict) else None
        if not cors:
            return argument
        return argument | {"CorsConfiguration": {name[0].lower() + name[1:]: cors[name] for name in cors}}

    return lambda *arguments, **named: handler(*map(renamed, arguments), **named)


apis["create"], apis["update"] = with_cors(apis["create"]), with_cors(apis["update"])

# AWS answers the preflight of an allowed origin itself, and every other OPTIONS goes to $default. MiniStack
# answers all, with 403 where the origin is not allowed.
execute = apigateway._handle_execute_in_scope


class Routed(str):
    """The method OPTIONS, which MiniStack does not take for a preflight."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return False


async def executed(api_id, stage, path, method, headers, *arguments):
    if method == "OPTIONS":
        cors = (apigateway._apis.get(api_id) or {}).get("corsConfiguration")
        is_allowed = apigateway._cors_response_headers(cors, headers.get("origin"))
        if not is_allowed or "access-control-request-method" not in headers:
            method = Routed(method)
    return await execute(api_id, stage, path, method, headers, *arguments)


apigateway._handle_execute_in_scope = executed

# CloudFormation converts a parameter's text to a number where a property needs one. MiniStack keeps the
# text, and its triggers cannot compare it.
triggers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]


def with_number(handler):
    def called(*arguments):
        for argument in arguments:
            scaling = argument.get("ScalingConfig") if isinstance(argument, dict) else None
            if scaling:
                scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return handler(*arguments)

    return called


triggers["create"], triggers["update"] = with_number(triggers["create"]), with_number(triggers["update"])

# Lambda spreads the calls of an alias over its versions by weight. MiniStack stores the weights, and calls
# one version.
record, invoke = lambda_svc._effective_func_record_for_qualifier, lambda_svc._invoke


def drawn(function, qualifier):
    draw = random.random()
    alias = (function or {}).get("aliases", {}).get(qualifier) or {}
    for version, weight in (alias.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}).items():
        if draw < weight:
            return version
        draw -= weight
    return qualifier


async def invoked(name, event, headers, path_qualifier=None, query_params=None):
    asked = path_qualifier or lambda_svc._qp_first(query_params or {}, "Qualifier")
    version = drawn(lambda_svc._functions.get(name), asked) if asked else None
    return await invoke(name, event, headers, version, query_params)


lambda_svc._effective_func_record_for_qualifier = lambda function, qualifier: record(
    function, drawn(function, qualifier)
)
lambda_svc._invoke = invoked

# AWS refuses to create a resource whose name is taken. MiniStack would replace it, a table with its rows.
def if_absent(kind, name_of, taken):
    handlers = provisioners._RESOURCE_HANDLERS[kind]
    create = handlers["create"]

    def created(logical_id, properties, stack):
        name = properties.get(name_of)
        if name in taken:
            raise ValueError(f"Resource of type '{kind}' with identifier '{name}' already exists.")
        return create(logical_id, properties, stack)

    handlers["create"] = created


if_absent("AWS::DynamoDB::Table", "TableName", dynamodb._tables)
if_absent("AWS::Logs::LogGroup", "LogGroupName", cloudwatch_logs._log_groups)
sys.exit(app.main())
