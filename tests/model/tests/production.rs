//! Production under a fixed share of what a proof walks through.

use saga_model::exhaustive::{self, Config};
use saga_model::services::STEP_TIMEOUT;
use test_support::template::Template;

#[test]
fn a_step_may_take_as_long_as_where_it_is_deployed() {
    let template = Template::of_service("orders");
    let parameter = &template.document()["Parameters"]["StepTimeoutSeconds"];
    assert_eq!(parameter["Default"], STEP_TIMEOUT.0.as_secs());
}

#[test]
fn every_interleaving_of_a_few_orders_is_right() {
    for config in Config::IN_TESTS {
        let outcome = exhaustive::run(config);
        assert!(outcome.holds(), "{outcome}");
        assert!(outcome.states > 5_000, "{outcome}");
    }
}
