//! Columns of values in pieces.

use crate::graph::ValueId;

/// Neighbouring columns of a value of the batched graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Piece {
    pub value: ValueId,
    pub start: usize,
    pub len: usize,
}

/// The same columns in fewer pieces.
pub(super) fn joined(parts: Vec<Piece>) -> Vec<Piece> {
    let mut fewer: Vec<Piece> = Vec::with_capacity(parts.len());
    for part in parts {
        match fewer.last_mut() {
            Some(last) if last.value == part.value && last.start + last.len == part.start => {
                last.len += part.len
            }
            _ => fewer.push(part),
        }
    }
    fewer
}

/// Columns `start..start + len` of columns.
pub(super) fn part(parts: Vec<Piece>, start: usize, len: usize) -> Vec<Piece> {
    let (mut from, end, mut within) = (0, start + len, Vec::new());
    for Piece { value, start: first, len } in parts {
        let (low, high) = (start.max(from), end.min(from + len));
        if low < high {
            within.push(Piece { value, start: first + low - from, len: high - low });
        }
        from += len;
    }
    within
}
