//! Buffers of the CPU engine, and the views through which threads share them.
//!
//! The only place where memory is written by several threads at once. It is sound because the threads' shares
//! never overlap: a [`Part`] gives each unit of work elements of its own ([`Part::check`]), threads own distinct
//! units, no binding that is written overlaps another binding of its dispatch ([`check_disjoint`]), and a barrier
//! stands between two dispatches.
#![allow(unsafe_code, reason = "threads write disjoint parts of one buffer; see the module's text")]

use std::marker::PhantomData;
use std::ops::Range;

use crate::engine::Part;
use crate::engine::cpu::gemm::Gemm;

/// Floats of one cache line, so that buffers start on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A zeroed buffer.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros, or `None` where there is no memory for them.
    pub fn new(len: usize) -> Option<Self> {
        let mut lines = Vec::new();
        lines.try_reserve_exact(len.div_ceil(16)).ok()?;
        lines.resize(len.div_ceil(16), Line([0.0; 16]));
        Some(Self { lines, len })
    }

    /// Number of floats.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All floats.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` initialised floats without gaps (`Line` is `repr(C)`).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// All floats, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// A range of a buffer during a replay.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    ptr: *mut f32,
    len: usize,
    life: PhantomData<&'a [f32]>,
}

// SAFETY: what a view points to is only reached through `read` and `Share::block`, whose rules keep threads apart.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// A view of a whole buffer, which is borrowed for as long as the view lives.
    pub fn new(buffer: &'a mut Buffer) -> Self {
        let slice = buffer.as_mut_slice();
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// A view of nothing.
    pub fn none() -> Self {
        Self { ptr: std::ptr::NonNull::dangling().as_ptr(), len: 0, life: PhantomData }
    }

    /// The part from `offset` on, `len` long.
    ///
    /// # Panics
    /// If it does not lie inside.
    pub fn range(self, offset: usize, len: usize) -> Self {
        assert!(offset + len <= self.len, "a binding of {offset} + {len} floats in a buffer of {}", self.len);
        // SAFETY: inside the same allocation, as just checked.
        Self { ptr: unsafe { self.ptr.add(offset) }, len, life: PhantomData }
    }

    /// The floats, to read: for bindings that no thread writes in this dispatch.
    pub fn read(self) -> &'a [f32] {
        // SAFETY: initialised memory inside the allocation; not written during this dispatch (module text).
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// The elements of a written binding that belong to one thread.
pub(super) struct Own<'a> {
    view: View<'a>,
    part: Part,
    units: Range<usize>,
}

impl<'a> Own<'a> {
    /// The units `units` of a binding of which `all` units exist.
    ///
    /// # Panics
    /// If the part reaches outside of the binding, or units overlap.
    pub fn new(view: View<'a>, part: Part, units: Range<usize>, all: usize) -> Self {
        let row = all * part.inner;
        assert!(part.outer <= 1 || row <= part.stride, "units overlap: {part:?} of {all}");
        let end = part.start + part.outer.saturating_sub(1) * part.stride + row;
        assert!(end <= view.len && units.end <= all, "{part:?} of {all} units ends at {end} of {}", view.len);
        Self { view, part, units }
    }

    /// Repetition `o` of the part: this thread's units of it.
    pub fn block(&mut self, o: usize) -> &mut [f32] {
        assert!(o < self.part.outer, "block {o} of {}", self.part.outer);
        let start = self.part.start + o * self.part.stride + self.units.start * self.part.inner;
        // SAFETY: inside the binding (checked in `new`), and no other thread has these units (module text).
        unsafe {
            std::slice::from_raw_parts_mut(self.view.ptr.add(start), self.units.len() * self.part.inner)
        }
    }

    /// Writes a product into these elements, from element `at` of the first block on. Its rows are either the
    /// part's repetitions, or `ldc` apart within the one block.
    ///
    /// # Panics
    /// If the product has elements outside of this thread's.
    pub fn gemm(&mut self, at: usize, gemm: &Gemm, a: &[f32], b: &[f32]) {
        let own = self.units.len() * self.part.inner;
        let Gemm { m, n, ldc, .. } = *gemm;
        let inside = if self.part.outer > 1 {
            m <= self.part.outer && (m <= 1 || ldc == self.part.stride) && at + n <= own
        } else {
            at + m.saturating_sub(1) * ldc + n <= own
        };
        assert!(
            inside && n <= ldc,
            "a product of {m} x {n} (rows {ldc} apart) does not fit into {:?}",
            self.part
        );
        let first = self.block(0).as_mut_ptr();
        // SAFETY: all elements of the product are this thread's own, as just checked.
        unsafe { gemm.part(a, b, first.add(at), 0..m, 0..n) }
    }
}
