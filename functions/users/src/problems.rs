//! The problem types that only this service answers.

use shared_lambda::problems::ProblemType;

pub(crate) const INVALID_CREDENTIALS: ProblemType = ProblemType {
    slug: "invalid-credentials",
    status: 401,
    title: "The login failed",
    when: "the address or the password is wrong, or the account is not active",
    remedy: "ask for address and password again",
};

pub(crate) const INVALID_REFRESH_TOKEN: ProblemType = ProblemType {
    slug: "invalid-refresh-token",
    status: 401,
    title: "The refresh token is not valid",
    when: "the refresh token is unknown, used up or expired, or its session ended",
    remedy: "log in again",
};

pub(crate) const DEACTIVATED: ProblemType = ProblemType {
    slug: "deactivated",
    status: 403,
    title: "The account is deactivated",
    when: "the caller's account is deactivated",
    remedy: "ask the operator",
};

pub(crate) const EMAIL_TAKEN: ProblemType = ProblemType {
    slug: "email-taken",
    status: 409,
    title: "The e-mail address is taken",
    when: "the address is registered already",
    remedy: "log in instead",
};

pub(crate) const CHANGED_MEANWHILE: ProblemType = ProblemType {
    slug: "changed-meanwhile",
    status: 409,
    title: "Another request was faster",
    when: "another request changed the password or the session first; this one changed nothing",
    remedy: "send it again with the password that is valid now",
};

pub(crate) const OWN_RIGHTS: ProblemType = ProblemType {
    slug: "own-rights",
    status: 409,
    title: "Administrators cannot change their own rights",
    when: "an administrator tried to change their own status or role",
    remedy: "ask another administrator",
};
