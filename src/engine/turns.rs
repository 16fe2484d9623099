//! Loop iterations of an invocation, and the limit that a driver may set on them.
//!
//! lavapipe leaves all loops of an invocation after 65,535 iterations in total and reports no error: sums end early and
//! neurons stay silent. Therefore each kernel computes an upper bound of its iterations from the sizes of the dispatch
//! ([`Kernel::turns`](crate::engine::Kernel::turns)). Operators split longer loops into several dispatches. A loop that
//! cannot be split is an error.

/// Limit of lavapipe. Other software adapters (SwiftShader, WARP) document no limit and get the same one.
pub const SOFTWARE: usize = 65_535;

/// Limit of GPUs: none but the 32 bits of a loop counter.
pub const UNLIMITED: usize = u32::MAX as usize;

/// Largest number of loops inside of another one.
const NESTED: usize = 8;

/// Iterations that the end of a loop adds: one for its last condition, and one without effect for each loop inside of
/// it.
fn leaving(inside: usize) -> usize {
    1 + inside.min(NESTED)
}

/// Iterations of a loop of `rounds` rounds, each with `inside` iterations of inner loops.
pub fn of(rounds: usize, inside: usize) -> usize {
    rounds.saturating_mul(inside.saturating_add(1)).saturating_add(leaving(inside))
}

/// Largest number of rounds within `limit` iterations, with `inside` iterations of inner loops in each; at least 1.
pub fn rounds(limit: usize, inside: usize) -> usize {
    (limit.saturating_sub(leaving(inside)) / inside.saturating_add(1)).max(1)
}

/// Splits `total` rounds into the fewest parts of equal length that keep to `limit`: `(first, length)` of each part.
/// The last part may be shorter.
pub fn parts(total: usize, limit: usize, inside: usize) -> impl Iterator<Item = (usize, usize)> {
    let length = total.div_ceil(total.div_ceil(rounds(limit, inside)).max(1)).max(1);
    (0..total).step_by(length).map(move |first| (first, length.min(total - first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_to_the_limit_and_cover_all_rounds() {
        for (total, limit, inside) in
            [(1, 10, 0), (9, 10, 0), (10, 10, 0), (100, 10, 3), (65_534, SOFTWARE, 0)]
        {
            let parts: Vec<(usize, usize)> = parts(total, limit, inside).collect();
            assert_eq!(parts.iter().map(|p| p.1).sum::<usize>(), total);
            assert!(parts.iter().all(|p| of(p.1, inside) <= limit), "{parts:?}");
            assert!(parts.windows(2).all(|p| p[0].0 + p[0].1 == p[1].0), "{parts:?}");
        }
        assert_eq!(parts(65_534, SOFTWARE, 0).count(), 1);
        assert_eq!(parts(65_535, SOFTWARE, 0).count(), 2);
    }
}
