//! Transposition of the operands of a matrix product.

/// Transposed operand of a matrix product `C`, which is always `m × n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `C = A·Bᵀ` with `A` `m × k` and `B` `n × k`.
    Nt,
    /// `C = A·B` with `A` `m × k` and `B` `k × n`.
    Nn,
    /// `C = Aᵀ·B` with `A` `k × m` and `B` `k × n`.
    Tn,
}
