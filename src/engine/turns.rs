//! How often the loops of one lane turn: drivers may allow a number of turns only.
//!
//! lavapipe leaves every loop of an invocation once its loops have turned 65,535 times in all, and says nothing: sums end early
//! and neurons stay silent. So each kernel counts its turns at most ([`Kernel::turns`](crate::engine::Kernel::turns)), from the sizes
//! that it is dispatched with; operators cut what is longer into several dispatches, and what cannot be cut is an error.

/// What lavapipe allows. Other software adapters (SwiftShader, WARP) name no limit and are held to the same.
pub const SOFTWARE: usize = 65_535;

/// Graphics processors have no such limit; their kernels count in 32 bits.
pub const UNLIMITED: usize = u32::MAX as usize;

/// Loops that are written inside of another one, at most.
const NESTED: usize = 8;

/// Turns of the last look whether to go on, after which a loop is left: the loops inside of it are gone through too, each
/// once and without effect.
fn leaving(inside: usize) -> usize {
    1 + inside.min(NESTED)
}

/// Turns of a loop of `rounds` rounds with `inside` turns of other loops in each.
pub fn of(rounds: usize, inside: usize) -> usize {
    rounds.saturating_mul(inside.saturating_add(1)).saturating_add(leaving(inside))
}

/// The most rounds of such a loop within `limit` turns; at least one.
pub fn rounds(limit: usize, inside: usize) -> usize {
    (limit.saturating_sub(leaving(inside)) / inside.saturating_add(1)).max(1)
}

/// `total` rounds in parts of equal length, as few as `limit` allows: `(first, length)` of each.
pub fn parts(total: usize, limit: usize, inside: usize) -> impl Iterator<Item = (usize, usize)> {
    let length = total.div_ceil(total.div_ceil(rounds(limit, inside)).max(1)).max(1);
    (0..total).step_by(length).map(move |first| (first, length.min(total - first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_to_the_limit_and_leave_nothing_out() {
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
