//! Production passes the small configurations.

use saga_model::exhaustive::{self, Config};
use saga_model::services::STEP_TIMEOUT;
use test_support::template::Template;

#[test]
fn the_step_timeout_equals_the_templates_default() {
    let template = Template::of_service("orders");
    let parameter = &template.document()["Parameters"]["StepTimeoutSeconds"];
    assert_eq!(parameter["Default"], STEP_TIMEOUT.0.as_secs());
}

#[test]
fn every_interleaving_of_a_few_orders_holds() {
    for config in Config::IN_TESTS {
        let outcome = exhaustive::run(config);
        assert!(outcome.holds(), "{outcome}");
        assert!(outcome.states > 5_000, "{outcome}");
    }
}
