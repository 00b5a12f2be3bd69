//! `saga-model`: runs the tiers from a command line.

use saga_model::exhaustive::{self, Config};
fn main() {
    let a: Vec<i64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let report = saga_model::soup::run(0..a[0] as u64);
    print!("{report}");
    let c = Config { orders: a[1] as usize, units: a[2] as i8, handlers_at_once: a[3] as usize, lossy: a[4]==1, users_may_be_down: a[5]&1 != 0, prices_may_change: a[5]&2 != 0, customers_may_cancel: a[5]&4 != 0};
    print!("{}", exhaustive::run(c));
}
