//! The problem types that only this service answers.

use shared_lambda::problems::ProblemType;

pub(crate) const USER_NOT_ALLOWED: ProblemType = ProblemType {
    slug: "user-not-allowed",
    status: 403,
    title: "The account may not place orders",
    when: "the account is deactivated, or does not exist any more",
    remedy: "ask the operator",
};

pub(crate) const FAULT_SWITCHES_REFUSED: ProblemType = ProblemType {
    slug: "fault-switches-refused",
    status: 403,
    title: "Production does not inject faults",
    when: "`Waybill-Fault` was sent in production",
    remedy: "leave the header out",
};

pub(crate) const TOO_LATE: ProblemType = ProblemType {
    slug: "too-late",
    status: 409,
    title: "The order cannot be cancelled any more",
    when: "the order is rejected or is being rejected",
    remedy: "nothing: the order ends by itself",
};

pub(crate) const TOO_MANY_UNPAID_ORDERS: ProblemType = ProblemType {
    slug: "too-many-unpaid-orders",
    status: 429,
    title: "Too many unpaid orders",
    when: "the customer has too many orders that are not paid for",
    remedy: "wait for `Retry-After` seconds",
};
