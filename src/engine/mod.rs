//! Kernels, buffers and recordings as plain data, and the engines that replay them.
//!
//! A [`Recording`] is a list of dispatches and copies on numbered buffers. [`wgpu`] replays it on an adapter,
//! [`cpu`] on the cores of the CPU with the same bindings. Nothing outside of `engine/wgpu/` mentions wgpu.

mod adapter;
pub(crate) mod allowance;
pub mod ceiling;
pub mod cpu;
mod device;
pub mod dry;
pub mod fused;
mod host;
pub mod shader;
pub mod turns;
pub mod wgpu;

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use adapter::{Adapter, Checks, DeviceKind};
pub use device::Device;

use crate::error::{Error, Result};

/// Properties and limits of a device, by which plans choose kernels.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Family of kernels.
    pub family: Family,
    /// Largest binding of a kernel, in floats.
    pub max_binding: usize,
    /// Largest number of bindings of a kernel. All kernels but fused loops need at most 8.
    pub max_buffers: usize,
    /// Threads of the CPU twin; 1 for an adapter.
    pub threads: usize,
    /// Largest number of loop iterations of an invocation in a dispatch; see [`turns`].
    pub max_turns: usize,
    /// Workgroups that run at once; an estimate for a GPU.
    pub workers: usize,
    /// Name of the device, for messages.
    pub name: String,
}

/// Family of kernels that is fast on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The cores of the CPU, with the CPU twins of the kernels.
    Cpu,
    /// A software adapter (lavapipe, SwiftShader, WARP): kernels without workgroup memory, with `vec4` loads.
    Software {
        /// Size of a subgroup; 0 if it is not fixed.
        subgroup: u32,
        /// True if shaders may use 64-bit integers, which make loads cheaper on lavapipe.
        int64: bool,
    },
    /// A GPU: kernels with tiles in workgroup memory.
    Gpu,
}

/// Access of a kernel to a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

/// A buffer of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferRef {
    /// Index into [`Recording::locals`]: a buffer of this recording alone.
    Local(usize),
    /// Index into the list given to [`Engine::load`]: a buffer that recordings share.
    Shared(usize),
}

/// A range of a buffer, in floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The buffer.
    pub buffer: BufferRef,
    /// First float, a multiple of [`ALIGN`].
    pub offset: usize,
    /// Number of floats.
    pub len: usize,
}

/// Alignment of a binding's offset, in floats: 256 bytes, the largest that an adapter may require.
pub const ALIGN: usize = 64;

/// Elements of a written binding that belong to a unit of work on the CPU.
///
/// These are `start + o * stride + unit * inner + i` for all `o < outer` and `i < inner`. Units share no element, so
/// threads write without locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First element of unit 0.
    pub start: usize,
    /// Number of repetitions.
    pub outer: usize,
    /// Elements from the start of one repetition to the next.
    pub stride: usize,
    /// Consecutive elements of a unit in a repetition.
    pub inner: usize,
}

impl Part {
    /// `inner` consecutive elements per unit, from `start` on.
    pub fn rows(start: usize, inner: usize) -> Self {
        Self { start, outer: 1, stride: 0, inner }
    }
}

/// Division of a CPU twin's work among threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Number of units.
    pub units: usize,
    /// Smallest number of units that a thread gets; it gets multiples of it.
    pub grain: usize,
    /// For each binding with [`Access::Write`], in order, the elements of a unit.
    pub parts: Vec<Part>,
}

/// A shader with its sizes, and the same computation on the CPU. Plain data.
pub trait Kernel: Any + fmt::Debug + Send + Sync {
    /// Text and constants of the shader. Kernels with an equal [`shader::Source`] share a pipeline.
    fn source(&self) -> shader::Source;

    /// Access to each binding, in the order of the shader's bindings.
    fn access(&self) -> Vec<Access>;

    /// Words of `var<immediate>`. The first is the first row of a loop's step; a replay overwrites it in each step.
    fn params(&self) -> Vec<u32>;

    /// Number of workgroups in x, y and z.
    fn grid(&self) -> [u32; 3];

    /// Upper bound of the loop iterations of an invocation: outer times inner iterations, over all loops; see
    /// [`turns`].
    fn turns(&self) -> usize;

    /// Division of the CPU twin's work, in a step that starts at row `row0`.
    fn split(&self, row0: usize) -> Split;

    /// Its part of a fused loop; `None` if it cannot be fused.
    fn fragment(&self, _: &fused::Site) -> Option<fused::Fragment> {
        None
    }

    /// Computes `units` of the work on the CPU, in a step that starts at row `row0`.
    fn run(&self, io: &mut cpu::Io<'_>, units: Range<usize>, row0: usize);
}

impl dyn Kernel {
    /// Shader, entry point and number of workgroups, for listings.
    pub fn label(&self) -> String {
        let source = self.source();
        format!("{} {} {:?}", source.stem, source.entry, self.grid())
    }
}

/// A call of a kernel.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: Arc<dyn Kernel>,
    /// Its bindings, in the order of [`Kernel::access`].
    pub bindings: Vec<Binding>,
    /// True if, in a loop, the output has the rows of a single step, which every step overwrites.
    pub rolls: bool,
}

impl Dispatch {
    /// Shader, entry point and number of workgroups, for listings.
    pub fn label(&self) -> String {
        self.kernel.label()
    }

    /// Checks that [`Kernel::turns`] is within the device's `limit`.
    ///
    /// # Errors
    /// [`Error::TooLong`], with `what` as the operator.
    pub fn check_turns(&self, limit: usize, device: &str, what: impl Fn() -> String) -> Result<()> {
        let needed = self.kernel.turns();
        if needed <= limit {
            return Ok(());
        }
        Err(Error::TooLong { what: what(), needed, limit, device: device.to_string() })
    }

    /// Creates a call of `kernel` with `bindings`.
    pub fn new(kernel: impl Kernel, bindings: Vec<Binding>) -> Self {
        Self { kernel: Arc::new(kernel), bindings, rolls: false }
    }
}

/// A step of a [`Recording`].
#[derive(Clone, Debug)]
pub enum Command {
    /// A call of a kernel.
    Dispatch(Dispatch),
    /// A loop: the same calls for each time step, with the first row advancing by `rows`.
    Repeat {
        /// Number of time steps.
        steps: usize,
        /// Number of rows of a step.
        rows: usize,
        /// True if time runs from the last step to the first.
        backward: bool,
        /// Independent parts of the rows.
        tiles: Vec<Tile>,
        /// Dispatches of a kernel that does the same on an adapter ([`fused`]); empty if the loop is not fused.
        fused: Vec<Dispatch>,
    },
    /// Copies a range onto another of the same length.
    Copy {
        /// Source.
        from: Binding,
        /// Destination.
        to: Binding,
    },
}

/// Examples that run through a loop together.
#[derive(Clone, Debug)]
pub struct Tile {
    /// First row of the examples in each step.
    pub row: usize,
    /// Calls of one step.
    pub body: Vec<Dispatch>,
}

/// A list of commands on buffers: plain data, made once per plan.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Name, for messages and traces.
    pub label: String,
    /// Length in floats and name of each [`BufferRef::Local`].
    pub locals: Vec<(usize, String)>,
    /// Commands, in order.
    pub commands: Vec<Command>,
}

/// Handle of an engine's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// Handle of a loaded recording.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) id: usize,
    /// The engine's buffer for each [`BufferRef::Local`].
    pub locals: Vec<BufferId>,
}

/// An engine: it owns buffers and replays recordings.
///
/// All calls are queued in order. Only [`Engine::read`] and a blocking [`Engine::reports`] wait for their completion.
pub trait Engine: Send {
    /// Creates a zeroed buffer of `len` floats; `label` is its name in messages.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] if it exceeds a limit or the memory; [`crate::Error::Device`] if no memory is left.
    fn allocate(&mut self, len: usize, label: &str) -> Result<BufferId>;

    /// Frees a buffer.
    fn free(&mut self, buffer: BufferId);

    /// Writes `len` floats from `offset` on. `fill` gets a slice of that length, whose contents are unspecified.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device is lost.
    fn write_with(
        &mut self,
        buffer: BufferId,
        offset: usize,
        len: usize,
        fill: &mut dyn FnMut(&mut [f32]),
    ) -> Result<()>;

    /// Reads `len` floats from `offset` on. Waits until everything queued has completed.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device is lost.
    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f32>>;

    /// Creates the pipelines, bind groups and buffers of a recording.
    ///
    /// # Errors
    /// [`crate::Error::Shader`] for a shader that does not compile, and those of [`Engine::allocate`].
    fn load(&mut self, recording: &Recording, shared: &[BufferId]) -> Result<Program>;

    /// Frees the resources of a program.
    fn unload(&mut self, program: Program);

    /// Replays programs one after another, then copies the first floats of a buffer for [`Engine::reports`]: `report`
    /// is that buffer and their number.
    ///
    /// An adapter gets one submission, or several if earlier replays took long.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device is lost.
    fn submit(&mut self, programs: &[&Program], report: Option<(BufferId, usize)>) -> Result<()>;

    /// Sets the number of dispatches in a submission to an adapter; `None`, the default, chooses it by measured times.
    /// Results do not depend on it.
    fn limit_submissions(&mut self, _dispatches: Option<usize>) {}

    /// Returns the reports that have arrived since the last call, oldest first. With `wait`, waits for all of them.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device is lost.
    fn reports(&mut self, wait: bool) -> Result<Vec<Vec<f32>>>;

    /// Measures each dispatch of a program: its label, and the mean seconds of `repeats` replays of it alone.
    ///
    /// The contents of the buffers are unspecified afterwards.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device is lost.
    fn profile(&mut self, program: &Program, repeats: usize) -> Result<Vec<(String, f64)>>;

    /// Total size of all buffers, in bytes.
    fn allocated_bytes(&self) -> u64;
}

impl dyn Engine {
    /// Writes `data` from float `offset` on.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device is lost.
    pub fn write(&mut self, buffer: BufferId, offset: usize, data: &[f32]) -> Result<()> {
        self.write_with(buffer, offset, data.len(), &mut |to| to.copy_from_slice(data))
    }
}

/// Grid of at least `total` workgroups, in x, and in y where x alone would exceed the limit of 65,535.
///
/// The shaders compute the linear index as `y * grid_x + x`, and ignore the workgroups from `total` on.
pub fn fold(total: usize) -> [u32; 3] {
    const MAX: usize = 65_535;
    let total = total.max(1);
    let x = total.min(MAX);
    [x as u32, total.div_ceil(MAX) as u32, 1]
}
