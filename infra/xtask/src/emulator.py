"""Starts MiniStack with one correction, so that roles can be written as AWS wants them."""

import sys

from ministack.app import main
from ministack.core import iam_actions

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
sys.exit(main())
