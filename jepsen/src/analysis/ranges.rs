//! Ranges of offsets, each with the operation that named it.

use std::collections::BTreeMap;

use crate::history::Span;

/// Ranges, none over another: by their beginnings, with their ends and the operation that named them last.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, (u64, usize)>);

impl Ranges {
    /// Adds a range, in the place of what was there.
    pub(crate) fn add(&mut self, span: Span, at: usize) {
        if span.from >= span.to {
            return;
        }
        // What reaches into it from before ends where it begins; what reaches out of it begins where it ends.
        if let Some((_, (to, by))) = self.0.range_mut(..span.from).next_back()
            && *to > span.from
        {
            let rest = (*to > span.to).then_some((*to, *by));
            *to = span.from;
            self.0.extend(rest.map(|rest| (span.to, rest)));
        }
        while let Some((&from, &(to, by))) = self.0.range(span.from..span.to).next() {
            self.0.remove(&from);
            if to > span.to {
                self.0.insert(span.to, (to, by));
            }
        }
        self.0.insert(span.from, (span.to, at));
    }

    /// The operation that named the offset.
    pub(crate) fn at(&self, offset: u64) -> Option<usize> {
        let (_, (to, at)) = self.0.range(..=offset).next_back()?;
        (offset < *to).then_some(*at)
    }

    /// Whether any offset of a range is in them.
    pub(crate) fn overlap(&self, span: Span) -> bool {
        let last = span.to.checked_sub(1).filter(|last| span.from <= *last);
        last.and_then(|last| self.0.range(..=last).next_back())
            .is_some_and(|(_, (to, _))| span.from < *to)
    }

    /// The ranges, in order.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = (Span, usize)> {
        self.0.into_iter().map(|(from, (to, at))| (Span { from, to }, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_takes_the_place_of_what_was_there_and_of_nothing_else() {
        let spans: [(usize, usize); 8] =
            [(4, 8), (0, 2), (6, 12), (1, 5), (3, 4), (7, 7), (0, 20), (9, 10)];
        let mut ranges = Ranges::default();
        let mut expected = [None; 24];
        for (at, (from, to)) in spans.into_iter().enumerate() {
            let span = |from: usize, to: usize| Span { from: from as u64, to: to as u64 };
            ranges.add(span(from, to), at);
            expected.iter_mut().take(to).skip(from).for_each(|by| *by = Some(at));
            for offset in 0..24 {
                assert_eq!(ranges.at(offset as u64), expected[offset], "{offset} after {at}");
                for to in offset..24 {
                    let any = expected[offset..to].iter().any(Option::is_some);
                    assert_eq!(ranges.overlap(span(offset, to)), any, "{offset}..{to}");
                }
            }
        }
    }
}
