//! Scans whose step is a list of instructions, on the CPU.

use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::expr::run::{BLOCK, Lane};
use crate::expr::scan_cpu::{ScanLoop, Way};
use crate::expr::step::Step;

impl ScanLoop<'_> {
    /// Walks through time instruction by instruction.
    pub(crate) fn interpret(&self, step: &Step, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let mut memory = std::mem::take(&mut io.work.totals);
        memory.resize(step.floats() + 2 * (1 + self.states) * BLOCK, 0.0);
        self.ways(io, units, row0, |io, way| {
            for from in (0..way.place.len()).step_by(BLOCK) {
                math::vectorise(
                    #[inline(always)]
                    || self.interpret_block(step, io, way, from, &mut memory),
                );
            }
        });
        io.work.totals = memory;
    }

    #[inline(always)]
    fn interpret_block(&self, step: &Step, io: &mut Io<'_>, way: &Way<'_>, from: usize, memory: &mut [f32]) {
        let n = BLOCK.min(way.place.len() - from);
        let place = way.place.start + from..way.place.start + from + n;
        let (count, operands) = (self.states, self.operands.list.len());
        let (scratch, memory) = memory.split_at_mut(step.floats());
        // Element 0 is the output, the states follow; before a step and after it.
        let (mut before, mut after) = memory.split_at_mut((1 + count) * BLOCK);
        for k in 0..count {
            before[(1 + k) * BLOCK..][..n]
                .copy_from_slice(&io.output(1, self.block(k, way.now)).0[place.clone()]);
        }
        if self.delayed {
            before[..n].copy_from_slice(&io.output(0, self.border(way.now)).0[place.clone()]);
        }
        for k in 0..self.steps {
            let (t, next) = self.time(way.t0, k);
            let lane = |i: usize| match i {
                i if i < operands => way.lines[i].lane(t, from, n),
                i if i < operands + count => Lane::Slice(&before[(1 + i - operands) * BLOCK..][..n]),
                _ => Lane::Slice(&before[..n]),
            };
            step.run(n, lane, scratch, |k, result| result.copy_to(&mut after[k * BLOCK..][..n]));
            io.output(0, self.output_block(t, next)).0[place.clone()].copy_from_slice(&after[..n]);
            if self.kept {
                for k in 0..count {
                    io.output(1, self.block(k, next)).0[place.clone()]
                        .copy_from_slice(&after[(1 + k) * BLOCK..][..n]);
                }
            }
            std::mem::swap(&mut before, &mut after);
        }
        if !self.kept {
            for k in 0..count {
                io.output(1, k).0[place.clone()].copy_from_slice(&before[(1 + k) * BLOCK..][..n]);
            }
        }
    }
}
