//! Buffers of the CPU engine, and the views through which threads share them.
//!
//! This is the only place where several threads write to the same memory. It is sound since their writes never overlap:
//!
//! - a [`Part`] gives each unit of work its own elements, which [`Own::new`] checks;
//! - threads own distinct units;
//! - no written binding overlaps another binding of its dispatch, which loading a recording checks;
//! - a barrier separates two dispatches.
#![allow(unsafe_code, reason = "threads write disjoint parts of a buffer; see the module's documentation")]

use std::marker::PhantomData;
use std::ops::Range;

use crate::engine::Part;
use crate::engine::cpu::gemm::Gemm;

/// Floats of a cache line, which aligns buffers to cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A zeroed buffer.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// Allocates `len` zeros; `None` if there is not enough memory.
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

    /// All floats, to read.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` initialised floats without gaps (`Line` is `repr(C)`).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// All floats, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`, and the borrow is exclusive.
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

// SAFETY: memory of a view is only accessed through `View::read` and `Own`, by the rules of the module's documentation.
unsafe impl Send for View<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// Creates a view of a whole buffer, which it borrows for its lifetime.
    pub fn new(buffer: &'a mut Buffer) -> Self {
        let slice = buffer.as_mut_slice();
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Creates an empty view.
    pub fn none() -> Self {
        Self { ptr: std::ptr::NonNull::dangling().as_ptr(), len: 0, life: PhantomData }
    }

    /// The `len` floats from `offset` on.
    ///
    /// # Panics
    /// If they are not inside of the view.
    pub fn range(self, offset: usize, len: usize) -> Self {
        assert!(offset + len <= self.len, "a binding of {offset} + {len} floats in a buffer of {}", self.len);
        // SAFETY: inside of the same allocation, as just checked.
        Self { ptr: unsafe { self.ptr.add(offset) }, len, life: PhantomData }
    }

    /// All floats, to read. For bindings that no thread writes in this dispatch.
    pub fn read(self) -> &'a [f32] {
        // SAFETY: initialised memory inside of the allocation, not written during this dispatch (see the module).
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Elements of a written binding that belong to one thread.
pub(super) struct Own<'a> {
    view: View<'a>,
    part: Part,
    units: Range<usize>,
}

impl<'a> Own<'a> {
    /// The elements of `units`, of `all` units of a binding.
    ///
    /// # Panics
    /// If the part exceeds the binding, or units overlap.
    pub fn new(view: View<'a>, part: Part, units: Range<usize>, all: usize) -> Self {
        let row = all * part.inner;
        assert!(part.outer <= 1 || row <= part.stride, "units overlap: {part:?} of {all}");
        let end = part.start + part.outer.saturating_sub(1) * part.stride + row;
        assert!(end <= view.len && units.end <= all, "{part:?} of {all} units ends at {end} of {}", view.len);
        Self { view, part, units }
    }

    /// This thread's elements in repetition `o` of the part.
    pub fn block(&mut self, o: usize) -> &mut [f32] {
        assert!(o < self.part.outer, "block {o} of {}", self.part.outer);
        let start = self.part.start + o * self.part.stride + self.units.start * self.part.inner;
        // SAFETY: inside of the binding, as `new` checks, and no other thread owns these units (see the module).
        unsafe {
            std::slice::from_raw_parts_mut(self.view.ptr.add(start), self.units.len() * self.part.inner)
        }
    }

    /// Writes a product into these elements, from element `at` of the first block on.
    ///
    /// Rows of the product are the repetitions of the part, or `ldc` apart if there is one repetition.
    ///
    /// # Panics
    /// If an element of the product belongs to another thread.
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
        // SAFETY: all elements of the product belong to this thread, as just checked.
        unsafe { gemm.part(a, b, first.add(at), 0..m, 0..n) }
    }
}
