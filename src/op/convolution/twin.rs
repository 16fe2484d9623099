//! The CPU twin of convolutions: what windows see is copied side by side, and multiplied.

use std::ops::{AddAssign, Range};

use crate::engine::cpu::gemm::Gemm;
use crate::engine::cpu::{Io, form, sums};
use crate::op::convolution::{Convolution, ConvolutionKernel, Form};

/// Floats of the patches that are multiplied at once: about what a core's cache holds.
const BLOCK: usize = 32_768;

impl Convolution {
    /// Windows whose patches are made at once.
    pub(super) fn block(&self) -> usize {
        (BLOCK / self.depth()).clamp(16, 512)
    }

    /// Copies what windows `places` see of the channels of a group: a row each, zeros outside of the image.
    fn patches(&self, image: &[f32], places: Range<usize>, group: usize, patches: &mut Vec<f32>) {
        let (n, depth) = (self.large / self.groups, self.depth());
        patches.clear();
        patches.resize(places.len() * depth, 0.0);
        for (patch, place) in patches.chunks_exact_mut(depth).zip(places) {
            self.window.runs(place, |element, point, len| {
                let (to, from) = (element * n, point * self.large + group * n);
                if self.groups == 1 {
                    patch[to..to + len * n].copy_from_slice(&image[from..from + len * n]);
                    return;
                }
                for i in 0..len {
                    let from = from + i * self.large;
                    patch[to + i * n..to + (i + 1) * n].copy_from_slice(&image[from..from + n]);
                }
            });
        }
    }

    /// Adds patches back to where they came from: the adjoint of [`Convolution::patches`].
    fn scatter<A: From<f32> + AddAssign>(
        &self,
        image: &mut [A],
        places: Range<usize>,
        group: usize,
        patches: &[f32],
    ) {
        let (n, depth) = (self.large / self.groups, self.depth());
        for (patch, place) in patches.chunks_exact(depth).zip(places) {
            self.window.runs(place, |element, point, len| {
                for i in 0..len {
                    let from = &patch[(element + i) * n..(element + i + 1) * n];
                    let to = (point + i) * self.large + group * n;
                    image[to..to + n].iter_mut().zip(from).for_each(|(to, x)| *to += A::from(*x));
                }
            });
        }
    }
}

impl ConvolutionKernel {
    /// The CPU twin: products of patches.
    pub(super) fn convolve(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let c = &self.convolution;
        let (places, depth) = (c.window.places(), c.depth());
        let (n, first) = (c.small / c.groups, units.start);
        let mut patches = std::mem::take(&mut io.work.terms);
        let mut longs = std::mem::take(&mut io.work.longs);
        // Long sums are made in double precision, of parts that are made in single precision.
        let many = match c.form {
            Form::Forward => false,
            Form::Transposed => c.window.span().iter().product::<usize>() > sums::BLOCK,
            Form::Kernel => self.chunk() > sums::BLOCK,
        };
        // The windows of one row from `at` on, as many as are multiplied at once.
        let block = |at: usize, end: usize| at..end.min(at + c.block()).min((at / places + 1) * places);
        let gemm = |form, m, n, k, [lda, ldb, ldc]: [usize; 3]| Gemm { form, m, n, k, lda, ldb, ldc };
        match c.form {
            Form::Forward => {
                let weights = &io.read(2)[self.b.start..];
                let mut at = units.start;
                while at < units.end {
                    let range = block(at, units.end);
                    let image = self.row(io, 0, row0 + at / places);
                    let to = &mut io.output(0, 0).0[(at - first) * c.small..];
                    let here = at % places..at % places + range.len();
                    for group in 0..c.groups {
                        c.patches(image, here.clone(), group, &mut patches);
                        let product = gemm(form::Form::Nt, range.len(), n, depth, [depth, depth, c.small]);
                        product.multiply(
                            &patches,
                            &weights[group * n * depth..],
                            &mut to[group * n..],
                            false,
                        );
                    }
                    at = range.end;
                }
            }
            Form::Transposed => {
                let weights = &io.read(2)[self.b.start..];
                for row in units {
                    let small = self.row(io, 0, row0 + row);
                    let image = io.output(0, 0).0;
                    let image =
                        &mut image[(row - first) * c.large_cols()..(row + 1 - first) * c.large_cols()];
                    image.fill(0.0);
                    longs.clear();
                    longs.resize(if many { image.len() } else { 0 }, 0.0);
                    let mut at = 0;
                    while at < places {
                        let range = block(at, places);
                        for group in 0..c.groups {
                            patches.clear();
                            patches.resize(range.len() * depth, 0.0);
                            let product =
                                gemm(form::Form::Nn, range.len(), depth, n, [c.small, depth, depth]);
                            let small = &small[at * c.small + group * n..];
                            product.multiply(small, &weights[group * n * depth..], &mut patches, false);
                            match many {
                                true => c.scatter(&mut longs, range.clone(), group, &patches),
                                false => c.scatter(image, range.clone(), group, &patches),
                            }
                        }
                        at = range.end;
                    }
                    image.iter_mut().zip(&longs).for_each(|(to, long)| *to = *long as f32);
                }
            }
            Form::Kernel => self.sum_windows(io, units, many, &mut patches, &mut longs),
        }
        io.work.terms = patches;
        io.work.longs = longs;
    }

    /// The twin of the sums over windows: chunks `units`, whose sums are many terms long or not.
    fn sum_windows(
        &self,
        io: &mut Io<'_>,
        units: Range<usize>,
        many: bool,
        patches: &mut Vec<f32>,
        longs: &mut Vec<f64>,
    ) {
        let c = &self.convolution;
        let (places, depth, n, first) = (c.window.places(), c.depth(), c.small / c.groups, units.start);
        let len = c.small * depth;
        for chunk in units {
            let own = (chunk - first) * len..(chunk + 1 - first) * len;
            io.output(0, 0).0[own.clone()].fill(0.0);
            longs.clear();
            let mut added = 0;
            let (mut at, end) = (chunk * self.chunk(), (chunk + 1) * self.chunk());
            let end = end.min(self.rows * places);
            while at < end {
                // The windows of one row from `at` on, as many as are multiplied at once.
                let range = at..end.min(at + c.block()).min((at / places + 1) * places);
                let here = at % places..at % places + range.len();
                let (small, image) = (self.row(io, 0, at / places), self.row(io, 1, at / places));
                let to = &mut io.output(0, 0).0[own.clone()];
                for group in 0..c.groups {
                    c.patches(image, here.clone(), group, patches);
                    let (lda, ldb) = (c.small, depth);
                    let product =
                        Gemm { form: form::Form::Tn, m: n, n: depth, k: range.len(), lda, ldb, ldc: depth };
                    let small = &small[here.start * c.small + group * n..];
                    product.multiply(small, patches, &mut to[group * n * depth..], true);
                }
                (at, added) = (range.end, added + range.len());
                if many && (added >= sums::BLOCK || at == end) {
                    sums::settle(to, longs);
                    added = 0;
                }
            }
            let to = &mut io.output(0, 0).0[own];
            to.iter_mut().zip(&*longs).for_each(|(to, long)| *to = *long as f32);
        }
    }
}
