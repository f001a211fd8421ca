//! Reading what lies behind the positions.

use super::positions::Position;
use super::{Consumer, Reads};
use crate::error::{Error, Result};
use crate::storage::entry::PartitionKey;
use crate::storage::frame::Body;
use crate::storage::partition::{PartitionLog, View};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What one poll returns, within its bounds.
struct Batch<T> {
    records: Vec<T>,
    bytes: u64,
    records_max: usize,
    bytes_max: u64,
    /// Whether a record was left for the next poll.
    is_full: bool,
}

impl Consumer {
    /// Reads what is behind the positions, all partitions as of one moment.
    pub(super) fn fetch<T>(
        &mut self,
        make: impl Fn(&PartitionLog, u64, Body<'_>) -> Result<T> + Copy,
    ) -> Result<Vec<T>> {
        let mut views: Vec<(PartitionKey, Arc<View>)> = {
            let _tables = self.broker.store.tables();
            let read = self.positions.iter().filter(|position| !position.is_paused);
            read.map(|position| (position.log.key, position.log.view())).collect()
        };
        let (ended_in, failing) = (self.ended_in.take(), self.failing.take());
        let served = views.partition_point(|(key, _)| Some(*key) <= ended_in);
        views.rotate_left(served);
        if let Some(first) = views.iter().position(|(key, _)| Some(*key) == failing) {
            views[..=first].rotate_right(1);
        }
        let reset = self.config.offset_reset;
        let mut batch = Batch {
            records: Vec::new(),
            bytes: 0,
            records_max: self.limits.poll_records_max,
            bytes_max: self.limits.poll_bytes_max,
            is_full: false,
        };
        let subscribed = matches!(self.reads, Reads::Topics(_));
        let (mut failed, mut last_served) = (None, None);
        for (key, view) in views {
            let Some(position) = self.positions.get_mut(key) else { continue };
            position.respect_log_start(reset, &view);
            if position.offset >= view.next_offset() {
                continue;
            }
            let present = batch.records.len();
            let read = position.read_into(&view, &mut batch, make);
            if batch.records.len() > present {
                last_served = Some(key);
            }
            // A topic that is deleted just now leaves a subscription with the next poll.
            let error = read.err().filter(|error| !(subscribed && is_deletion(error)));
            if let Some(error) = error {
                if Some(key) == failing && batch.records.is_empty() {
                    self.ended_in = ended_in;
                    return Err(error);
                }
                failed = failed.or(Some((key, error)));
            }
            if batch.is_full {
                self.ended_in = last_served;
                break;
            }
        }
        match failed {
            Some((_, error)) if batch.records.is_empty() => Err(error),
            // What is good comes first; the next poll begins with the failure.
            failed => {
                self.failing = failed.map(|(key, _)| key);
                Ok(batch.records)
            }
        }
    }
}

impl Position {
    fn read_into<T>(
        &mut self,
        view: &View,
        batch: &mut Batch<T>,
        make: impl Fn(&PartitionLog, u64, Body<'_>) -> Result<T>,
    ) -> Result<()> {
        let (log, position) = (&self.log, &mut self.offset);
        log.read(view, *position, u64::MAX, usize::MAX, &mut |offset, body| {
            let key_and_value = body.key.map_or(0, <[u8]>::len) + body.value.map_or(0, <[u8]>::len);
            let bytes = batch.bytes + (key_and_value + body.headers.len()) as u64;
            let over = batch.bytes > 0 && bytes > batch.bytes_max;
            if over || batch.records.len() >= batch.records_max {
                batch.is_full = true;
                return Ok(ControlFlow::Break(()));
            }
            batch.records.push(make(log, offset, body)?);
            batch.bytes = bytes;
            *position = offset + 1;
            Ok(ControlFlow::Continue(()))
        })?;
        // Compaction may have left nothing behind the last record.
        if !batch.is_full {
            *position = view.next_offset();
        }
        Ok(())
    }
}

fn is_deletion(error: &Error) -> bool {
    matches!(error, Error::TopicDeleted { .. })
}
