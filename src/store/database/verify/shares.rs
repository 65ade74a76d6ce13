//! How a list of migrations is shared among scratch databases.

use std::ops::Range;

/// Cut `count` migrations into at most `workers` ranges, none of them empty, that take about as long. A later migration stands on
/// a larger schema, which takes longer to read: twice as long for the last as for the first.
pub(super) fn shares(count: usize, workers: usize) -> Vec<Range<usize>> {
    let cost = |number: usize| count + number;
    let total: usize = (0..count).map(cost).sum();
    let workers = workers.clamp(1, count.max(1));
    let (mut ranges, mut start, mut spent) = (Vec::with_capacity(workers), 0, 0);
    for number in 0..count {
        spent += cost(number);
        let left = workers - ranges.len() - 1;
        let full = spent * workers >= total * (ranges.len() + 1) || count - number - 1 == left;
        if left > 0 && full {
            ranges.push(start..number + 1);
            start = number + 1;
        }
    }
    if start < count {
        ranges.push(start..count);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_is_in_one_share_and_no_share_is_empty() {
        for count in 0..40 {
            for workers in 1..6 {
                let ranges = shares(count, workers);
                let all: Vec<usize> = ranges.iter().cloned().flatten().collect();
                assert_eq!(all, (0..count).collect::<Vec<_>>(), "{count} {workers}");
                assert_eq!(ranges.len(), workers.min(count), "{count} {workers}");
                assert!(ranges.iter().all(|range| !range.is_empty()), "{count} {workers}");
            }
        }
    }

    #[test]
    fn the_first_share_is_the_largest() {
        assert_eq!(shares(285, 2), [0..166, 166..285]);
    }
}
