"""Starts MiniStack with corrections: each says what AWS does, and what MiniStack does instead."""

import sys

from ministack.app import main
from ministack.core import iam_actions, iam_evaluator
from ministack.services import sqs

# On AWS the batch forms of SQS calls are no actions of their own: each is
# allowed by the action of its single form (Service Authorization Reference,
# Amazon SQS). MiniStack asks for an action of the batch's name.
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

# Triggers go on receiving while the state is saved at the end. Queues are saved
# one after the other, so a message that moves to its dead-letter queue in between
# would be saved with both, or with none.
unguarded = sqs.get_state


def guarded():
    with sqs._queues_lock:
        return unguarded()


sqs.get_state = guarded

# The queues refuse calls without TLS, which this machine's own address does not have. Functions and
# tools use it on AWS, because their endpoints there begin with https.
resolve = iam_evaluator._resolve_condition_key


def over_tls(key, context):
    return "true" if key.lower() == "aws:securetransport" else resolve(key, context)


iam_evaluator._resolve_condition_key = over_tls

sys.exit(main())
