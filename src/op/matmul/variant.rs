//! The shaders of products, and which one is fast where.

use crate::engine::{Family, Target, turns};

/// Sums of more terms are made exactly: what rounding takes from shorter ones is less than what a faster kernel is worth.
pub(super) const LONG: usize = 4096;

/// A shader family for products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// Any adapter, any size: four rows of four columns a lane, `bands` of eight lanes a workgroup.
    Plain { bands: usize },
    /// Software adapters: no workgroup memory, tall register tiles.
    Software,
    /// Software adapters whose subgroups have exactly eight lanes: rows are shared by broadcast.
    Subgroup,
    /// Graphics processors: tiles in workgroup memory.
    Tiled,
    /// Any adapter, long sums: as [`Variant::Plain`], with what rounding takes from the sums added up apart.
    Exact,
}

/// The kernels that a device takes for large products, for listings.
pub fn family_name(target: &Target) -> &'static str {
    match target.family {
        Family::Cpu => "the gemm crate",
        family => Variant::of(family, usize::MAX, usize::MAX).stem(),
    }
}

impl Variant {
    /// The family that is fast on a device for results of m × n; measured on lavapipe (`benches/README.md`).
    pub(super) fn of(family: Family, m: usize, n: usize) -> Self {
        match family {
            Family::Gpu if m < 32 || n < 32 => Variant::Plain { bands: 8 },
            Family::Gpu => Variant::Tiled,
            _ if m <= 4 => Variant::Plain { bands: 1 },
            Family::Software { subgroup: 8, .. } => Variant::Subgroup,
            Family::Software { .. } => Variant::Software,
            Family::Cpu => Variant::Plain { bands: 8 },
        }
    }

    /// Rows and columns of the result that a workgroup makes.
    pub(super) fn tile(self) -> (usize, usize) {
        match self {
            Variant::Plain { bands } => (4 * bands, 32),
            Variant::Software => (16, 64),
            Variant::Subgroup => (32, 32),
            Variant::Tiled => (64, 64),
            Variant::Exact => (32, 32),
        }
    }

    /// Terms that a lane adds in one turn of its loop, and the turns of loops inside.
    pub(super) fn round(self) -> (usize, usize) {
        if self == Variant::Tiled { (16, turns::of(16, 0)) } else { (4, 0) }
    }

    pub(super) fn stem(self) -> &'static str {
        match self {
            Variant::Plain { .. } => "matmul_plain",
            Variant::Software => "matmul_software",
            Variant::Subgroup => "matmul_subgroup",
            Variant::Tiled => "matmul_tiled",
            Variant::Exact => "matmul_exact",
        }
    }
}
