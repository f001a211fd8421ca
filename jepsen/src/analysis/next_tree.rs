//! The next number of a list that is large enough, found without looking at those that aren't.

/// Finds the next number of a list that is large enough, in logarithmic time. Without numbers, all are.
#[derive(Debug)]
pub(crate) struct NextTree<T> {
    /// The root at 1, the children of `node` at `2 * node` and behind it, and the numbers themselves in the second half.
    nodes: Vec<T>,
}

impl<T> Default for NextTree<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T: Copy + Ord + Default> NextTree<T> {
    pub(crate) fn new(numbers: impl ExactSizeIterator<Item = T>) -> Self {
        let half = numbers.len().next_power_of_two();
        let mut nodes = vec![T::default(); 2 * half];
        for (node, number) in nodes[half..].iter_mut().zip(numbers) {
            *node = number;
        }
        for node in (1..half).rev() {
            nodes[node] = nodes[2 * node].max(nodes[2 * node + 1]);
        }
        Self { nodes }
    }

    /// Makes a number the smallest there is.
    pub(crate) fn clear(&mut self, at: usize) {
        let mut node = self.nodes.len() / 2 + at;
        self.nodes[node] = T::default();
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node].max(self.nodes[2 * node + 1]);
        }
    }

    /// The place of the first number at or behind one that is at least so large. It may lie behind the last number where even the
    /// smallest is large enough.
    pub(crate) fn next(&self, from: usize, at_least: T) -> Option<usize> {
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
    use super::NextTree;

    #[test]
    fn the_next_number_that_is_large_enough_is_the_one_that_a_walk_finds() {
        for length in 1..20_usize {
            let numbers: Vec<usize> = (0..length).map(|at| 1 + at * 7 % 5).collect();
            let mut tree = NextTree::new(numbers.iter().copied());
            let mut left = numbers.clone();
            for cleared in [None, Some(length / 2), Some(0), Some(length - 1)] {
                if let Some(at) = cleared {
                    tree.clear(at);
                    left[at] = 0;
                }
                for (from, at_least) in
                    (0..length).flat_map(|from| (1..8).map(move |at_least| (from, at_least)))
                {
                    let walked = (from..length).find(|at| left[*at] >= at_least);
                    assert_eq!(tree.next(from, at_least), walked, "{left:?} from {from}");
                }
            }
        }
    }
}
