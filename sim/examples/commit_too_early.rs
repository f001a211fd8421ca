//! An application that commits before it has done its work, and the harness that
//! finds that: found, shrunk, repeated from the written plan; then the same
//! harness on the application without the bug.
//!
//! `cargo run -p merkql-sim --example commit_too_early`

mod shop;

use merkql::broker::BrokerConfig;
use merkql_sim::app::{Check, CheckError, Machine, Plan};
use shop::{Outcome, Shipping, Warehouse, take_orders};
pub(crate) use shop::{commit_then_ship, ship_then_commit};

const ORDERS: u32 = 5;

// The harness, whole.

impl Shipping for Machine<Warehouse> {
    fn ship(&self, order: &str) -> Outcome {
        Ok(self.act("ship", |warehouse| warehouse.ship(order))?)
    }
}

pub(crate) type Application = fn(BrokerConfig, &Machine<Warehouse>) -> Outcome;

pub(crate) fn check(application: Application) -> Check<'static, Warehouse> {
    Check::new(
        move |machine| application(machine.config(), machine),
        |warehouse: &Warehouse, _| {
            let lost =
                (0..ORDERS).find(|n| !warehouse.requests.contains_key(&format!("order {n}")));
            lost.map_or(Ok(()), |n| Err(format!("order {n} was never shipped")))
        },
    )
    .prepare(|machine| take_orders(machine.config(), ORDERS))
    .seeds(0..300)
}

// What it finds.

pub(crate) fn main() -> Outcome {
    println!("commit, then ship:\n");
    let buggy = check(commit_then_ship);
    let failure = match buggy.run() {
        Err(CheckError::Failed(failure)) => failure,
        Err(error) => return Err(error.into()),
        Ok(summary) => return Err(format!("the bug was not found: {summary}").into()),
    };
    println!("{failure}\n");

    let written = failure.plan.to_string();
    match buggy.replay(&written.parse::<Plan>()?) {
        Err(CheckError::Failed(again)) if again.story == failure.story => {
            println!("the plan, written down and read again, tells the same story\n");
        }
        other => return Err(format!("the plan tells another story: {other:?}").into()),
    }

    println!("ship, then commit:\n");
    println!("{}", check(ship_then_commit).run()?);
    Ok(())
}
