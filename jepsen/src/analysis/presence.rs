//! Which records of a log were still there at some time, found without looking at those that weren't.

use super::effects::{Effects, KeyId};
use super::logs::Logs;
use super::removals::Removals;

/// For each key, since when each entry of its log may be missing.
#[derive(Debug)]
pub(crate) struct Presence {
    keys: Vec<MaxTree>,
}

impl Presence {
    pub(crate) fn new(effects: &Effects<'_>, logs: &Logs, removals: &Removals) -> Self {
        let since = |key| {
            logs.log(key).iter().map(move |entry| {
                removals.of(effects, logs, entry.record).map_or(usize::MAX, |removal| removal.since)
            })
        };
        let tree = |key| {
            if removals.any(key) { MaxTree::new(since(key)) } else { MaxTree::default() }
        };
        Self { keys: (0..effects.key_count()).map(|key| tree(KeyId::new(key))).collect() }
    }

    /// The first entry at or behind an index whose record can't have been missing yet at a position. Where the log ends the
    /// index may lie behind it.
    pub(crate) fn next(&self, key: KeyId, from: usize, position: usize) -> Option<usize> {
        self.keys[key.number()].next(from, position)
    }
}

/// Finds the next number of a list that is large enough, in logarithmic time. Without numbers, all are.
#[derive(Debug, Default)]
struct MaxTree {
    /// The root at 1, the children of `node` at `2 * node` and behind it, and the numbers themselves in the second half.
    nodes: Vec<usize>,
}

impl MaxTree {
    fn new(numbers: impl ExactSizeIterator<Item = usize>) -> Self {
        let half = numbers.len().next_power_of_two();
        let mut nodes = vec![0; 2 * half];
        for (node, number) in nodes[half..].iter_mut().zip(numbers) {
            *node = number;
        }
        for node in (1..half).rev() {
            nodes[node] = nodes[2 * node].max(nodes[2 * node + 1]);
        }
        Self { nodes }
    }

    fn next(&self, from: usize, at_least: usize) -> Option<usize> {
        let half = self.nodes.len() / 2;
        if half == 0 {
            return Some(from);
        }
        let mut node = half + from;
        while *self.nodes.get(node)? < at_least {
            // Up while there is nothing to the right under the same parent, and then one to the right.
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < half {
            node *= 2;
            if self.nodes[node] < at_least {
                node += 1;
            }
        }
        Some(node - half)
    }
}

#[cfg(test)]
mod tests {
    use super::MaxTree;

    #[test]
    fn the_next_number_that_is_large_enough_is_the_one_that_a_walk_finds() {
        for length in 1..20_usize {
            let numbers: Vec<usize> = (0..length).map(|at| 1 + at * 7 % 5).collect();
            let tree = MaxTree::new(numbers.iter().copied());
            for from in 0..length {
                for at_least in 1..8 {
                    let walked = (from..length).find(|at| numbers[*at] >= at_least);
                    assert_eq!(tree.next(from, at_least), walked, "{numbers:?} from {from}");
                }
            }
        }
    }
}
