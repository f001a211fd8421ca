//! An order-processing application, once with a bug and once without. It knows
//! nothing of a simulation: it is given the log's configuration and a warehouse.

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::record::ProducerRecord;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

/// What every part of the application returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The warehouse, as the application sees it.
pub(crate) trait Shipping {
    /// Sends the parcel of an order. A repeated request for the same order sends
    /// no second parcel.
    fn ship(&self, order: &str) -> Outcome;
}

/// A warehouse for tests.
#[derive(Debug, Default)]
pub(crate) struct Warehouse {
    /// How often each order was asked for. Its parcel went at the first time.
    pub(crate) requests: BTreeMap<String, u32>,
}

impl Warehouse {
    /// Takes a request.
    pub(crate) fn ship(&mut self, order: &str) {
        *self.requests.entry(order.to_owned()).or_default() += 1;
    }
}

/// Takes orders in, one after the other.
pub(crate) fn take_orders(config: BrokerConfig, count: u32) -> Outcome {
    let broker = Broker::open(config)?;
    let producer = Broker::producer(&broker);
    for order in 0..count {
        producer.send(&ProducerRecord::new("orders", None, format!("order {order}")))?;
    }
    Ok(Broker::close(&broker)?)
}

/// Ships the orders. The bug: an order is committed before it is shipped, and if
/// the machine dies in between nobody ever ships it.
pub(crate) fn commit_then_ship(config: BrokerConfig, warehouse: &impl Shipping) -> Outcome {
    let broker = Broker::open(config)?;
    let mut consumer = consumer(&broker)?;
    loop {
        let orders = consumer.poll(Duration::ZERO)?;
        if orders.is_empty() {
            return Ok(());
        }
        consumer.commit_sync()?;
        for order in &orders {
            warehouse.ship(&order.value)?;
        }
    }
}

/// Ships the orders, and commits what is shipped. After a crash some are asked
/// for again, which the warehouse takes for what it is.
pub(crate) fn ship_then_commit(config: BrokerConfig, warehouse: &impl Shipping) -> Outcome {
    let broker = Broker::open(config)?;
    let mut consumer = consumer(&broker)?;
    loop {
        let orders = consumer.poll(Duration::ZERO)?;
        if orders.is_empty() {
            return Ok(());
        }
        for order in &orders {
            warehouse.ship(&order.value)?;
        }
        consumer.commit_sync()?;
    }
}

fn consumer(broker: &BrokerRef) -> Result<Consumer, Box<dyn Error>> {
    let config = ConsumerConfig {
        group_id: "shipping".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let mut consumer = Broker::consumer(broker, config);
    consumer.subscribe(&["orders"])?;
    Ok(consumer)
}
