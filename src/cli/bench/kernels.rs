//! Benchmarks of single kernels, and the ceilings measured on the same device.

use std::time::Instant;

use nengo_wgpu::internals::engine::{
    ALIGN, Binding, BufferId, BufferRef, Command, Engine, Family, Program, Recording, ceiling,
};
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::graph::{Dims, Scope, Source, Type};
use nengo_wgpu::internals::optim::norm::{NormBindings, Of, norms};
use nengo_wgpu::internals::optim::update::{Segment, Segments};
use nengo_wgpu::internals::plan::{self, Output, Place, Request};
use nengo_wgpu::{Device, Result};

use super::{Bench, Measured, measured};

/// A recording loaded into its own engine, with the graph's sources filled with numbers.
struct Loaded {
    engine: Box<dyn Engine>,
    program: Program,
    any: BufferId,
}

impl Loaded {
    fn new(device: &Device, recording: &Recording) -> Result<Self> {
        let mut engine = device.engine();
        let program = engine.load(recording, &[])?;
        for (&local, (len, _)) in program.locals.iter().zip(&recording.locals) {
            engine.write_with(local, 0, *len, &mut |to| {
                to.iter_mut().enumerate().for_each(|(i, x)| *x = 0.1 + (i % 97) as f32 * 0.003);
            })?;
        }
        let any = program.locals[0];
        Ok(Self { engine, program, any })
    }

    /// Seconds per replay; queues `count` replays and waits for them.
    fn seconds(&mut self, count: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..count {
            self.engine.submit(&[&self.program], None)?;
        }
        self.engine.read(self.any, 0, 1)?;
        Ok(start.elapsed().as_secs_f64() / count as f64)
    }

    /// Seconds per replay in each of `repeats` measurements, after a warm-up.
    fn sample(&mut self, repeats: usize) -> Result<Vec<f64>> {
        self.seconds(1)?;
        let once = self.seconds(1)?;
        let count = ((0.05 / once.max(1e-7)) as usize).clamp(1, 1000);
        (0..repeats).map(|_| self.seconds(count)).collect()
    }
}

/// A recording with its own buffers.
fn single(locals: Vec<(usize, String)>, commands: Vec<Command>) -> Recording {
    Recording { label: "bench".into(), locals, commands }
}

impl Bench {
    /// Peak in GFLOP/s: multiplications and additions in registers.
    pub(super) fn peak(&mut self) -> Result<f64> {
        if let Some(peak) = self.peak {
            return Ok(peak);
        }
        let len = ceiling::arithmetic_len();
        let output = Binding { buffer: BufferRef::Local(0), offset: 0, len };
        let rounds = if self.device.target().family == Family::Gpu { 4096 } else { 256 };
        let (dispatch, on_adapter, on_cpu) = ceiling::arithmetic(output, rounds);
        let work = if self.device.target().family == Family::Cpu { on_cpu } else { on_adapter };
        let recording = single(vec![(len, "sums".into())], vec![Command::Dispatch(dispatch)]);
        let seconds = Loaded::new(&self.device, &recording)?.sample(self.repeats)?;
        let best = seconds.into_iter().fold(f64::INFINITY, f64::min);
        Ok(*self.peak.insert(work / best / 1e9))
    }

    /// Bandwidth of a copy in GB/s, counting read and written bytes.
    pub(super) fn bandwidth(&mut self) -> Result<f64> {
        if let Some(bandwidth) = self.bandwidth {
            return Ok(bandwidth);
        }
        let len = 1 << 22;
        let whole = |i| Binding { buffer: BufferRef::Local(i), offset: 0, len };
        let locals = vec![(len, "from".into()), (len, "to".into())];
        let copies = Command::Copy { from: whole(0), to: whole(1) };
        let mut best = 0.0_f64;
        let seconds = Loaded::new(&self.device, &single(locals, vec![copies]))?.sample(self.repeats)?;
        for s in seconds {
            best = best.max(8.0 * len as f64 / s / 1e9);
        }
        // A driver's copy may use one core only, while a kernel uses all.
        for s in self.map(len, 1)? {
            best = best.max(8.0 * len as f64 / s / 1e9);
        }
        Ok(*self.bandwidth.insert(best))
    }

    /// Seconds of an elementwise sum of `inputs` arrays of `len`.
    fn map(&mut self, len: usize, inputs: usize) -> Result<Vec<f64>> {
        let dims = Dims { batch: 1, steps: 1 };
        let scope = Scope::new(dims);
        let feeds: Vec<_> =
            (0..inputs).map(|i| scope.source(Type::fixed(len / 1024, 1024), Source::Feed(i))).collect();
        let sum = scope.sum(&feeds);
        let output = if inputs == 1 { sum.unary(Unary::Abs) } else { sum };
        let value = output.id;
        self.sample(scope, value)
    }

    fn sample(&mut self, scope: Scope, value: nengo_wgpu::internals::graph::ValueId) -> Result<Vec<f64>> {
        let plan = plan::plan(Request {
            graph: scope.finish()?,
            outputs: vec![Output { value, place: Place::Keep }],
            parameters: &[],
            carry: None,
            target: self.device.target(),
            label: "bench",
        })?;
        Loaded::new(&self.device, &plan.recording)?.sample(self.repeats)
    }

    pub(super) fn matmul(&mut self, n: usize) -> Result<Vec<Measured>> {
        use nengo_wgpu::internals::engine::cpu::form::Form;
        let peak = self.peak()?;
        let mut results = Vec::new();
        for (form, label) in [(Form::Nt, "A·Bᵀ"), (Form::Nn, "A·B"), (Form::Tn, "Aᵀ·B")] {
            let scope = Scope::new(Dims { batch: 1, steps: 1 });
            let a = scope.source(Type::fixed(n, n), Source::Feed(0));
            let b = scope.source(Type::fixed(n, n), Source::Feed(1));
            let value = scope.apply(nengo_wgpu::internals::op::Matmul::dense(form), &[a, b]).id;
            let seconds = self.sample(scope, value)?;
            let work = 2.0 * (n as f64).powi(3) / 1e9;
            results.push(measured(format!("matmul {label} {n}³"), "GFLOP/s", work, seconds, peak));
        }
        Ok(results)
    }

    pub(super) fn elementwise(&mut self) -> Result<Vec<Measured>> {
        let ceiling = self.bandwidth()?;
        let len = 1 << 22;
        let mut results = Vec::new();
        for (inputs, label) in [(1, "elementwise |x|, 4 M"), (2, "elementwise a + b, 4 M")] {
            let seconds = self.map(len, inputs)?;
            let work = 4.0 * ((inputs + 1) * len) as f64 / 1e9;
            results.push(measured(label.into(), "GB/s", work, seconds, ceiling));
        }
        Ok(results)
    }

    pub(super) fn l2_norm(&mut self) -> Result<Vec<Measured>> {
        let ceiling = self.bandwidth()?;
        let lines = (1 << 22) / ALIGN;
        let segment = |i: usize| Segment {
            first_line: i * lines / 4,
            lines: lines / 4,
            l2: 0.0,
            l1: 0.0,
            norm: 0.0,
            decay: 0.0,
            rate: 1.0,
        };
        let segments = Segments { list: (0..4).map(segment).collect() };
        let table = segments.table();
        let sizes = [1 << 22, ALIGN, table.len(), 2 * lines, ALIGN];
        let local = |i: usize| Binding { buffer: BufferRef::Local(i), offset: 0, len: sizes[i] };
        let bindings = NormBindings {
            parameters: local(0),
            gradients: local(1),
            table: local(2),
            partials: local(3),
            sums: local(4),
        };
        let commands = norms(&segments, Of::Parameters, self.device.target().family, bindings)
            .map(Command::Dispatch)
            .to_vec();
        let locals = sizes.iter().map(|&n| (n, "bench".to_string())).collect();
        let mut loaded = Loaded::new(&self.device, &single(locals, commands))?;
        loaded.engine.write(loaded.program.locals[2], 0, &table)?;
        let seconds = loaded.sample(self.repeats)?;
        let work = 4.0 * (1 << 22) as f64 / 1e9;
        Ok(vec![measured("l2-norm of 4 × 1 M".into(), "GB/s", work, seconds, ceiling)])
    }
}
