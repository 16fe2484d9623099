//! Fusion of all kernels of a loop's step into one kernel that loops over time inside the shader.
//!
//! Rows of different examples are independent. A workgroup therefore runs all steps for a tile of examples, and a
//! barrier inside of the workgroup between two operators suffices. Each kernel contributes a [`Fragment`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;

use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, BufferRef, Dispatch, Family, Kernel, Split, cpu, turns};

/// Division of a loop's examples among workgroups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Number of examples in the minibatch.
    pub batch: usize,
    /// Number of examples of a workgroup.
    pub rows: usize,
    /// Number of invocations of a workgroup.
    pub lanes: usize,
    /// True if the workgroup is exactly one subgroup of eight invocations.
    pub broadcast: bool,
}

/// Cost of a load or a store, in additions.
pub const MEMORY: usize = 16;

/// Place of a kernel's fragment in a fused shader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Number of the fragment, with which its names end.
    pub number: usize,
    /// Division of the examples.
    pub tiling: Tiling,
}

/// Part of a fused shader: the work of one kernel in one step, for a tile of examples.
///
/// The text defines a function `phaseN(lane, example, t)`, where N is [`Site::number`]. It does the work of invocation
/// `lane` in step `t`, for the tile that begins with `example`.
///
/// It accesses binding `i` of the kernel through functions that take an index `at` and the number of columns `left`
/// from there on: `loadN_i(at, left) -> vec4<f32>`, of which at most the first `left` elements are valid;
/// `numberN_i(at) -> f32`; `storeN_i(at, left, value)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// Functions in WGSL.
    pub text: String,
    /// For each binding, true if all loads and stores of four elements are at multiples of four.
    pub aligned: Vec<bool>,
    /// Cost of one example, in additions.
    pub work: f64,
    /// Loop iterations of an invocation, at most; see [`turns`].
    pub turns: usize,
}

impl Site {
    /// Rounds of the loop that [`Site::elementwise`] writes.
    pub fn rounds(&self, cols: usize) -> usize {
        (cols.div_ceil(4) * self.tiling.rows).div_ceil(self.tiling.lanes)
    }

    /// Text of a function that runs `body` for the elements of the tile's rows, four of `cols` columns at a time.
    ///
    /// `body` may use the example `b`, `row`, `col`, and the number of columns `left` from `col` on.
    pub fn elementwise(&self, cols: usize, body: &str) -> String {
        let Self { number, tiling: Tiling { batch, rows, .. } } = *self;
        let (across, inside) = (cols.div_ceil(4), batch.is_multiple_of(rows));
        let guard = if inside { String::new() } else { format!("if b >= {batch}u {{ continue; }}\n") };
        format!(
            "fn phase{number}(lane: u32, example: u32, t: u32) {{\n\
             for (var i = lane; i < {items}u; i += LANES) {{\n\
             let b = example + i / {across}u;\n\
             let row = t * {batch}u + b;\n\
             let col = i % {across}u * 4u;\n\
             let left = {cols}u - col;\n\
             {guard}{body}}}\n}}\n",
            items = across * rows,
        )
    }
}

/// A binding of the fused kernel.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    binding: Binding,
    access: Access,
    aligned: bool,
}

/// All kernels of a loop's step as one kernel.
#[derive(Clone, Debug)]
pub struct Fused {
    tiling: Tiling,
    family: Family,
    backward: bool,
    slots: Vec<Slot>,
    /// Functions of all fragments, and those by which they access bindings.
    phases: String,
    /// Calls of one step, with barriers between them.
    step: String,
    /// Cost of one step of one example, in additions.
    work: f64,
    /// Loop iterations of an invocation in one step, with the one of the loop over steps.
    turns: usize,
    /// First step and number of steps of a dispatch.
    window: (usize, usize),
}

impl Fused {
    /// Fuses the dispatches of a step; `None` if one of them has no [`Fragment`].
    pub fn new(body: &[Dispatch], tiling: Tiling, family: Family, backward: bool) -> Option<Self> {
        let site = |number| Site { number, tiling };
        let fragments: Vec<Fragment> =
            body.iter().enumerate().map(|(n, d)| d.kernel.fragment(&site(n))).collect::<Option<_>>()?;
        let access: Vec<Vec<Access>> = body.iter().map(|d| d.kernel.access()).collect();
        let written: BTreeSet<BufferRef> = body
            .iter()
            .zip(&access)
            .flat_map(|(d, access)| d.bindings.iter().zip(access))
            .filter(|(_, access)| **access == Access::Write)
            .map(|(binding, _)| binding.buffer)
            .collect();
        // A buffer that is only read may be bound twice, so that an unaligned access leaves the vector loads to the
        // others.
        let key = |binding: &Binding, aligned: bool| match written.contains(&binding.buffer) {
            true => (binding.buffer, None),
            false => (binding.buffer, Some(aligned)),
        };
        let mut slots: BTreeMap<(BufferRef, Option<bool>), Slot> = BTreeMap::new();
        for (d, fragment) in body.iter().zip(&fragments) {
            for (binding, &aligned) in d.bindings.iter().zip(&fragment.aligned) {
                let key = key(binding, aligned);
                let access = if key.1.is_none() { Access::Write } else { Access::Read };
                let slot = slots.entry(key).or_insert_with(|| Slot { binding: *binding, access, aligned });
                let end = (slot.binding.offset + slot.binding.len).max(binding.offset + binding.len);
                slot.binding.offset = slot.binding.offset.min(binding.offset);
                slot.binding.len = end - slot.binding.offset;
                slot.aligned &= aligned;
            }
        }
        let places: BTreeMap<_, usize> =
            slots.keys().copied().enumerate().map(|(at, key)| (key, at)).collect();
        let (mut phases, mut step) = (String::new(), String::new());
        for (n, (d, fragment)) in body.iter().zip(&fragments).enumerate() {
            for (i, (binding, &aligned)) in d.bindings.iter().zip(&fragment.aligned).enumerate() {
                let key = key(binding, aligned);
                let Some(&at) = places.get(&key) else { continue };
                let distance = binding.offset - slots[&key].binding.offset;
                let writes = access[n][i] == Access::Write;
                phases += &functions(&format!("{n}_{i}"), at, distance, writes);
            }
            phases += &fragment.text;
            let _ = write!(step, "        phase{n}(lane, example, t);\n        storageBarrier();\n");
        }
        let work = fragments.iter().map(|f| f.work).sum();
        let turns = 1 + fragments.iter().map(|f| f.turns).sum::<usize>();
        let slots = slots.into_values().collect();
        Some(Self { tiling, family, backward, slots, phases, step, work, turns, window: (0, 0) })
    }

    /// Cost of one step of one example, in additions.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// Loop iterations of an invocation in one step, at most, with the one of the loop over steps.
    pub fn turns_of_step(&self) -> usize {
        self.turns
    }

    /// Number of storage buffers that it binds.
    pub fn buffers(&self) -> usize {
        self.slots.len()
    }

    /// Longest binding, in floats.
    pub fn longest(&self) -> usize {
        self.slots.iter().map(|s| s.binding.len).max().unwrap_or(0)
    }

    /// Dispatches that together run `steps` steps, with at most `most` steps in each.
    pub fn dispatches(&self, steps: usize, most: usize) -> Vec<Dispatch> {
        let bindings: Vec<Binding> = self.slots.iter().map(|s| s.binding).collect();
        let one = |done: usize| {
            let first = if self.backward { steps - 1 - done } else { done };
            let kernel = Self { window: (first, most.min(steps - done)), ..self.clone() };
            Dispatch::new(kernel, bindings.clone())
        };
        (0..steps).step_by(most).map(one).collect()
    }

    /// Text of all bindings, and of the functions that load and store their elements.
    fn declarations(&self) -> String {
        let mut text = String::new();
        for (i, Slot { access, aligned, .. }) in self.slots.iter().enumerate() {
            let mode = if *access == Access::Write { "read_write" } else { "read" };
            let element = if *aligned { "V" } else { "f32" };
            let _ = writeln!(text, "@group(0) @binding({i}) var<storage, {mode}> b{i}: array<{element}>;");
            let (load, number, store) = if *aligned {
                (
                    format!("return unpack(b{i}[at / 4u]);"),
                    format!("return unpack(b{i}[at / 4u])[at % 4u];"),
                    format!("b{i}[at / 4u] = pack(x);"),
                )
            } else {
                (
                    format!(
                        "let i = at + min(vec4(0u, 1u, 2u, 3u), vec4(left - 1u)); \
                         return vec4(b{i}[i.x], b{i}[i.y], b{i}[i.z], b{i}[i.w]);"
                    ),
                    format!("return b{i}[at];"),
                    format!(
                        "b{i}[at] = x.x; if left > 1u {{ b{i}[at + 1u] = x.y; }} \
                         if left > 2u {{ b{i}[at + 2u] = x.z; }} if left > 3u {{ b{i}[at + 3u] = x.w; }}"
                    ),
                )
            };
            let _ = writeln!(text, "fn load_b{i}(at: u32, left: u32) -> F {{ {load} }}");
            let _ = writeln!(text, "fn number_b{i}(at: u32) -> f32 {{ {number} }}");
            if *access == Access::Write {
                let _ = writeln!(text, "fn store_b{i}(at: u32, left: u32, x: F) {{ {store} }}");
            }
        }
        text
    }
}

/// Text of the functions by which a fragment accesses one of its bindings, `distance` floats into binding `slot`.
fn functions(name: &str, slot: usize, distance: usize, writes: bool) -> String {
    let mut text = format!(
        "fn load{name}(at: u32, left: u32) -> F {{ return load_b{slot}(at + {distance}u, left); }}\n\
         fn number{name}(at: u32) -> f32 {{ return number_b{slot}(at + {distance}u); }}\n"
    );
    if writes {
        let _ = writeln!(
            text,
            "fn store{name}(at: u32, left: u32, x: F) {{ store_b{slot}(at + {distance}u, left, x); }}"
        );
    }
    text
}

impl Kernel for Fused {
    fn source(&self) -> Source {
        let element = shader::vector(self.family)
            + "alias F = vec4<f32>;\nalias U = vec4<u32>;\nalias I = vec4<i32>;\n";
        let generated = [
            ("element", element),
            ("buffers", self.declarations()),
            ("phases", shader::part("loop_product") + &self.phases),
            ("step", self.step.clone()),
        ];
        Source::new("loop", "main", &generated)
            .constant("LANES", self.tiling.lanes as f64)
            .constant("TILE", self.tiling.rows as f64)
            .constant("BACKWARD", f64::from(u8::from(self.backward)))
    }

    fn access(&self) -> Vec<Access> {
        self.slots.iter().map(|s| s.access).collect()
    }

    fn params(&self) -> Vec<u32> {
        vec![self.window.0 as u32, self.window.1 as u32]
    }

    fn grid(&self) -> [u32; 3] {
        [self.tiling.batch.div_ceil(self.tiling.rows) as u32, 1, 1]
    }

    fn turns(&self) -> usize {
        turns::of(self.window.1, self.turns - 1)
    }

    /// No units: the CPU twin replays the dispatches of the loop's body instead.
    fn split(&self, _: usize) -> Split {
        Split { units: 0, grain: 1, parts: Vec::new() }
    }

    fn run(&self, _: &mut cpu::Io<'_>, _: Range<usize>, _: usize) {}
}
