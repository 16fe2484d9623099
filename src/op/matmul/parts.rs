//! Products in several dispatches: parts of each sum, side by side or one after the other.

use crate::engine::cpu::form::Form;
use crate::engine::cpu::gemm::Gemm;
use crate::engine::{Family, Kernel, turns};
use crate::expr::Expr;
use crate::op::matmul::MatmulKernel;

impl MatmulKernel {
    /// In one dispatch, or in several of which each adds some terms of the sums; the last one finishes the elements.
    pub(super) fn within(self, limit: usize) -> Vec<Self> {
        let (step, inside) = self.variant().round();
        let Gemm { form, k, lda, ldb, .. } = self.gemm;
        if self.turns() <= limit {
            return vec![self];
        }
        let (a_step, b_step) =
            (if form == Form::Tn { lda } else { 1 }, if form == Form::Nt { 1 } else { ldb });
        let part = |(first, count): (usize, usize)| {
            let mut part = self.clone();
            let first = step * first;
            part.gemm.k = (step * count).min(k - first);
            part.a.start += first * a_step;
            part.b.start += first * b_step;
            part.part = Some(first > 0);
            if first + part.gemm.k < k {
                (part.epilogue.expr, part.epilogue.list) = (Expr::identity(), Vec::new());
            }
            part
        };
        turns::parts(k.div_ceil(step), limit, inside).map(part).collect()
    }

    /// Parts of the sum that are made in parallel, where the result alone has too few tiles for the device, or where a lane's
    /// loop would turn too often.
    pub(super) fn useful_splits(&self, limit: usize) -> usize {
        let Gemm { form, m, n, k, .. } = self.gemm;
        if form != Form::Tn || self.family == Family::Cpu {
            return 1;
        }
        let (tile_m, tile_n) = self.variant().tile();
        let tiles = m.div_ceil(tile_m) * n.div_ceil(tile_n) * self.groups;
        let (wanted, least) = match self.family {
            Family::Gpu => (256, 64),
            _ => (8, 512),
        };
        let (step, inside) = self.variant().round();
        let least_parts = k.div_ceil(step).div_ceil(turns::rounds(limit, inside));
        (wanted / tiles.max(1)).min(k / least).clamp(1, 64).max(least_parts)
    }
}
