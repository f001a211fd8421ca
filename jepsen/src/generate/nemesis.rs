//! What happens to the perfect log from outside: restarts, retention, compaction, and damage that it detects or heals.

use rand::RngExt;

use super::world::{World, key};
use crate::history::{
    Action, Attachments, Damage, Datum, Detected, FaultClass, Healed, Kind, Process, Span,
};

/// Something of this kind happens once in so many steps.
const RARITY: u32 = 200;

impl World {
    /// Lets something happen now and then, and says whether it did.
    pub(super) fn nemesis(&mut self) -> bool {
        if !self.once_in(RARITY) {
            return false;
        }
        match self.rng.random_range(0..4) {
            0 if self.options.crashes => self.restart(),
            1 if self.options.removals => self.retain(),
            2 if self.options.removals => self.compact(),
            3 if self.options.removals => self.damage(),
            _ => return false,
        }
        true
    }

    /// The log crashes and is opened again. Nothing is lost but the clients and what they were waiting for.
    fn restart(&mut self) {
        self.emit(
            Process::nemesis(),
            Kind::Info,
            Action::Crash(Datum::Nil),
            Attachments::default(),
        );
        for at in 0..self.clients.len() {
            match self.clients[at].call.take() {
                Some(call) => self.answer_as(at, call, Kind::Info),
                None => self.clients[at] = self.fresh_client(),
            }
        }
        self.open();
    }

    /// A key other than the first, if there is one with records.
    fn spare_key(&mut self) -> Option<usize> {
        let at = self.any_key();
        (at > 0 && self.partitions[at].end() > 0).then_some(at)
    }

    fn some_span(&mut self, at: usize) -> Span {
        let end = self.partitions[at].end();
        let from = self.rng.random_range(0..end);
        Span { from, to: self.rng.random_range(from + 1..=end.min(from + 3)) }
    }

    fn retain(&mut self) {
        let Some(at) = self.spare_key() else { return };
        let start = self.rng.random_range(self.partitions[at].start()..=self.partitions[at].end());
        self.emit_pair(&administrator(), Action::Retain(vec![(key(at), start)]));
        self.partitions[at].retain_from(start);
        let removed = vec![(key(at), vec![Span { from: 0, to: start }])];
        self.emit(administrator(), Kind::Info, Action::Removed(removed), Attachments::default());
    }

    fn compact(&mut self) {
        let Some(at) = self.spare_key() else { return };
        let span = self.some_span(at);
        self.emit_pair(&administrator(), Action::Compact(vec![(key(at), vec![span])]));
        (span.from..span.to).for_each(|offset| self.partitions[at].remove(offset));
    }

    fn damage(&mut self) {
        let Some(at) = self.spare_key() else { return };
        let span = self.some_span(at);
        let spans = vec![(key(at), vec![span])];
        self.damages += 1;
        let id = self.damages;
        let damage = Action::Damage(Box::new(Damage {
            id,
            class: if self.once_in(4) { FaultClass::Recoverable } else { FaultClass::Detected },
            spans: Some(spans.clone()),
            rest: Vec::new(),
        }));
        self.emit(Process::nemesis(), Kind::Info, damage, Attachments::default());
        let answer = if self.once_in(2) {
            Action::Healed(Box::new(Healed { damage: id, rest: Vec::new() }))
        } else {
            (span.from..span.to).for_each(|offset| self.partitions[at].remove(offset));
            Action::Detected(Box::new(Detected { damage: Some(id), spans, rest: Vec::new() }))
        };
        self.emit(administrator(), Kind::Info, answer, Attachments::default());
    }
}

fn administrator() -> Process {
    Process::Named("administrator".into())
}
