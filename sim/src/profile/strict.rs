//! A prefix of the changes, in order.

use super::{SECTOR_BYTES, Space};
use crate::disk::{Kept, Survivors, Unsynced, What};
use crate::random::Stream;
use rand::RngExt;

/// One choice: how many changes survive, the last write of them in how many of
/// its sectors.
#[derive(Debug)]
pub(crate) struct Choices {
    prefixes: Vec<Survivors>,
}

impl Choices {
    pub(crate) fn new(unsynced: &Unsynced) -> Self {
        let all = Survivors::all(unsynced).kept;
        let mut prefixes = vec![Survivors::none()];
        for (count, change) in unsynced.changes.iter().enumerate() {
            let before = all.get(..count).unwrap_or_default();
            if let What::Write { position, len, grows: false } = change.what {
                let first_end = (position / SECTOR_BYTES + 1) * SECTOR_BYTES;
                let ends = (0..).map(|sector| first_end + sector * SECTOR_BYTES);
                for end in ends.take_while(|end| *end < position + len) {
                    let ranges = vec![(position, end)];
                    let torn = Kept::Write { op: change.op, ranges, grows: false };
                    prefixes.push(Survivors { kept: [before, &[torn]].concat() });
                }
            }
            prefixes.push(Survivors { kept: all.get(..=count).unwrap_or_default().to_vec() });
        }
        Self { prefixes }
    }
}

impl Space for Choices {
    fn ways(&self) -> Vec<usize> {
        vec![self.prefixes.len()]
    }

    fn survivors(&self, choices: &[usize]) -> Survivors {
        let prefix = choices.first().and_then(|choice| self.prefixes.get(*choice));
        prefix.cloned().unwrap_or_default()
    }
}

pub(crate) fn draw(unsynced: &Unsynced, random: &mut Stream) -> Survivors {
    let choices = Choices::new(unsynced);
    choices.survivors(&[random.random_range(0..choices.prefixes.len())])
}
