//! One kernel of all kernels of a loop's step: it walks through time inside the shader.
//!
//! Rows of different examples do not depend on each other, so a workgroup takes a tile of examples through all steps, and
//! nothing but its own lanes has to wait between two operators. Each kernel writes its part as a [`Fragment`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;

use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, BufferRef, Dispatch, Family, Kernel, Split, cpu, turns};

/// How a loop's examples are divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Examples of the minibatch.
    pub batch: usize,
    /// Examples that a workgroup walks through time with.
    pub rows: usize,
    /// Invocations of a workgroup.
    pub lanes: usize,
    /// The lanes are exactly one subgroup of eight.
    pub broadcast: bool,
}

/// What it costs to load or store a number, in additions.
pub const MEMORY: usize = 16;

/// Where a kernel's part stands in a loop's shader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Names end in it.
    pub number: usize,
    /// How the examples are divided.
    pub tiling: Tiling,
}

/// A kernel's part of a loop's shader: what it does of one step for a tile of examples.
///
/// Its text holds a function `phaseN(lane, example, t)`, with N the site's number: a lane's work of step `t` for the tile
/// that begins with `example`. Buffers are read and written by functions that take the place `at` in the kernel's binding
/// `i` and the number of columns `left` from there on: `loadN_i(at, left) -> vec4<f32>`, of which at most the first `left`
/// elements count; `numberN_i(at) -> f32`; `storeN_i(at, left, value)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// WGSL functions.
    pub text: String,
    /// Whether all loads and stores of four are at multiples of four, a number for each binding.
    pub aligned: Vec<bool>,
    /// Arithmetic and memory operations for one example, counted as additions.
    pub work: f64,
    /// How often a lane's loops turn, at most.
    pub turns: usize,
}

impl Site {
    /// Rounds of the loop of [`Site::elementwise`].
    pub fn rounds(&self, cols: usize) -> usize {
        (cols.div_ceil(4) * self.tiling.rows).div_ceil(self.tiling.lanes)
    }

    /// Loops over the elements of the tile's rows of `cols` columns, four columns at once, with `example`, `row`, `col`
    /// and the columns `left` from there on.
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

/// A buffer as the fused kernel binds it.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    binding: Binding,
    access: Access,
    aligned: bool,
}

/// The kernels of a loop's step as one.
#[derive(Clone, Debug)]
pub struct Fused {
    tiling: Tiling,
    family: Family,
    backward: bool,
    slots: Vec<Slot>,
    /// Functions of all kernels, with the ones that find their buffers.
    phases: String,
    step: String,
    /// Operations for one step of one example.
    work: f64,
    /// Turns of all loops of a step, and of the loop over steps.
    turns: usize,
    /// First step of a dispatch, and number of steps.
    window: (usize, usize),
}

impl Fused {
    /// One kernel of the calls of a step, where each has a [`Fragment`].
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
        // What is only read may be bound several times, so that one odd size does not cost the others their vectors.
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

    /// Operations for one step of one example.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// How often a lane's loops turn in a step, at most: the turn of the loop over steps is one of them.
    pub fn turns_of_step(&self) -> usize {
        self.turns
    }

    /// Storage buffers that it binds.
    pub fn buffers(&self) -> usize {
        self.slots.len()
    }

    /// The longest range that it binds, in floats.
    pub fn longest(&self) -> usize {
        self.slots.iter().map(|s| s.binding.len).max().unwrap_or(0)
    }

    /// Dispatches that cover `steps` steps, each at most `most` of them.
    pub fn dispatches(&self, steps: usize, most: usize) -> Vec<Dispatch> {
        let bindings: Vec<Binding> = self.slots.iter().map(|s| s.binding).collect();
        let one = |done: usize| {
            let first = if self.backward { steps - 1 - done } else { done };
            let kernel = Self { window: (first, most.min(steps - done)), ..self.clone() };
            Dispatch::new(kernel, bindings.clone())
        };
        (0..steps).step_by(most).map(one).collect()
    }

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

/// The functions by which a kernel finds one of its bindings.
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

    /// None: the twin replays the loop's own calls.
    fn split(&self, _: usize) -> Split {
        Split { units: 0, grain: 1, parts: Vec::new() }
    }

    fn run(&self, _: &mut cpu::Io<'_>, _: Range<usize>, _: usize) {}
}
