//! The problem types that only this service answers.

use shared_lambda::problems::ProblemType;

pub(crate) const SKU_TAKEN: ProblemType = ProblemType {
    slug: "sku-taken",
    status: 409,
    title: "The sku is taken",
    when: "another item has this sku",
    remedy: "choose another sku",
};

pub(crate) const INSUFFICIENT_STOCK: ProblemType = ProblemType {
    slug: "insufficient-stock",
    status: 409,
    title: "There is not enough stock",
    when: "the adjustment takes more units than are available",
    remedy: "take fewer units",
};
