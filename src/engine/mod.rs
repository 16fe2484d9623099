//! Kernels, buffers and recordings as plain data, and the two engines that replay them.
//!
//! A [`Recording`] is a list of dispatches and copies on numbered buffers. [`wgpu`] replays it on an adapter,
//! [`cpu`] on this processor's cores with the same bindings. Nothing outside `engine/wgpu/` mentions wgpu.

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

/// What kind of processor runs the kernels, and what it allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Decides which kernels are chosen.
    pub family: Family,
    /// Largest range of a buffer that a kernel may bind, in floats.
    pub max_binding: usize,
    /// Storage buffers that a kernel may bind; all but those of whole loops get by with 8.
    pub max_buffers: usize,
    /// Threads of the CPU twin that walk through a loop's tiles side by side; 1 for an adapter.
    pub threads: usize,
    /// Turns of all loops of a lane in a dispatch, after which the driver may leave every loop (see [`turns`]).
    pub max_turns: usize,
    /// Workgroups of a loop that run at once, as far as one knows.
    pub workers: usize,
    /// Name of the device, for messages.
    pub name: String,
}

/// Which family of kernels is fast on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// This processor's cores, through the kernels' CPU twins.
    Cpu,
    /// A software adapter (lavapipe, SwiftShader, WARP): no shared memory, `vec4` loads.
    Software {
        /// Lanes that run together; 0 if the driver does not promise a number.
        subgroup: u32,
        /// 64-bit integers, with which it loads memory in fewer pieces.
        int64: bool,
    },
    /// A graphics processor: shared-memory tiles.
    Gpu,
}

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads only.
    Read,
    /// Writes, and may read what it wrote or found.
    Write,
}

/// A buffer of a recording: its own, or one that several recordings share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferRef {
    /// Made for this recording alone.
    Local(usize),
    /// An index into the list given to [`Engine::load`].
    Shared(usize),
}

/// A range of a buffer in floats. `offset` is a multiple of 64 (256 bytes, what the strictest adapter asks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The buffer.
    pub buffer: BufferRef,
    /// First float.
    pub offset: usize,
    /// Number of floats.
    pub len: usize,
}

/// Floats to which offsets of bindings are aligned.
pub const ALIGN: usize = 64;

/// The elements of one written binding that a unit of work owns on the CPU: for `o < outer` and `i < inner`
/// the element `start + o * stride + unit * inner + i`. Units never share elements, so threads can write
/// their own without locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First element.
    pub start: usize,
    /// Repetitions.
    pub outer: usize,
    /// Elements from one repetition to the next.
    pub stride: usize,
    /// Consecutive elements of a unit.
    pub inner: usize,
}

impl Part {
    /// `rows` consecutive elements a unit from `start` on.
    pub fn rows(start: usize, inner: usize) -> Self {
        Self { start, outer: 1, stride: 0, inner }
    }
}

/// Work that a kernel's CPU twin divides among threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Number of units.
    pub units: usize,
    /// Units that stay together: threads get multiples of it.
    pub grain: usize,
    /// For each binding with [`Access::Write`], in order, which elements a unit owns.
    pub parts: Vec<Part>,
}

/// A shader, the sizes it is called with, and the same computation on the CPU. Plain data.
pub trait Kernel: Any + fmt::Debug + Send + Sync {
    /// The shader's text and constants. Kernels with an equal [`shader::Source`] share a pipeline.
    fn source(&self) -> shader::Source;

    /// How each binding is used, in the order of the shader's bindings.
    fn access(&self) -> Vec<Access>;

    /// The words of `var<immediate>`. The first is the row at which a loop's step starts.
    fn params(&self) -> Vec<u32>;

    /// Workgroups.
    fn grid(&self) -> [u32; 3];

    /// How often the loops of one lane turn in this dispatch, all together and at most: outer times inner turns, see [`turns`].
    fn turns(&self) -> usize;

    /// How the CPU twin divides the work, given the row at which a loop's step starts.
    fn split(&self, row0: usize) -> Split;

    /// Its part of a kernel that walks through time with a tile of examples; nothing where it has none.
    fn fragment(&self, _: &fused::Site) -> Option<fused::Fragment> {
        None
    }

    /// The CPU twin: computes `units` of the work.
    fn run(&self, io: &mut cpu::Io<'_>, units: Range<usize>, row0: usize);
}

impl dyn Kernel {
    /// The shader, its entry point and the workgroups, for listings.
    pub fn label(&self) -> String {
        let source = self.source();
        format!("{} {} {:?}", source.stem, source.entry, self.grid())
    }
}

/// One call of a kernel.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// What is computed.
    pub kernel: Arc<dyn Kernel>,
    /// On which ranges of which buffers, in the order of the kernel's [`Kernel::access`].
    pub bindings: Vec<Binding>,
    /// In a loop, its output has the rows of one step, and does not move.
    pub rolls: bool,
}

impl Dispatch {
    /// The shader, its entry point and the workgroups, for listings.
    pub fn label(&self) -> String {
        self.kernel.label()
    }

    /// That the loops of its lanes turn no more often than the device walks through, where it is a part of `what`.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check_turns(&self, limit: usize, device: &str, what: impl Fn() -> String) -> Result<()> {
        let needed = self.kernel.turns();
        if needed <= limit {
            return Ok(());
        }
        Err(Error::TooLong { what: what(), needed, limit, device: device.to_string() })
    }

    /// A call of `kernel` on `bindings`.
    pub fn new(kernel: impl Kernel, bindings: Vec<Binding>) -> Self {
        Self { kernel: Arc::new(kernel), bindings, rolls: false }
    }
}

/// A step of a [`Recording`].
#[derive(Clone, Debug)]
pub enum Command {
    /// One call.
    Dispatch(Dispatch),
    /// The same calls for each time step, with the first row moving by `rows`.
    Repeat {
        /// Time steps.
        steps: usize,
        /// Rows of one step.
        rows: usize,
        /// From the last step to the first.
        backward: bool,
        /// Parts of the rows that do not depend on each other.
        tiles: Vec<Tile>,
        /// The same in few dispatches that walk through time themselves, for an adapter; or nothing.
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

/// Examples that walk through a loop together.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Their first row in each step.
    pub row: usize,
    /// The calls of one step.
    pub body: Vec<Dispatch>,
}

/// What an engine replays: plain data, made once per plan.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What it is, for messages and traces.
    pub label: String,
    /// Length in floats and name of each [`BufferRef::Local`].
    pub locals: Vec<(usize, String)>,
    /// What happens, in order.
    pub commands: Vec<Command>,
}

/// A buffer of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// A loaded recording.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) id: usize,
    /// The engine's buffer for each [`BufferRef::Local`].
    pub locals: Vec<BufferId>,
}

/// Something that holds buffers and replays recordings.
///
/// Everything is queued in order; only [`Engine::read`] and a blocking [`Engine::reports`] wait.
pub trait Engine: Send {
    /// Makes a zeroed buffer of `len` floats.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], or that the device has no memory left.
    fn allocate(&mut self, len: usize, label: &str) -> Result<BufferId>;

    /// Frees a buffer.
    fn free(&mut self, buffer: BufferId);

    /// Lets `fill` write `len` floats from `offset` on.
    ///
    /// # Errors
    /// A lost device.
    fn write_with(
        &mut self,
        buffer: BufferId,
        offset: usize,
        len: usize,
        fill: &mut dyn FnMut(&mut [f32]),
    ) -> Result<()>;

    /// Reads `len` floats from `offset` on; waits for all that was queued.
    ///
    /// # Errors
    /// A lost device.
    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f32>>;

    /// Makes pipelines, bind groups and buffers of a recording, once.
    ///
    /// # Errors
    /// A shader that does not compile, or too little memory.
    fn load(&mut self, recording: &Recording, shared: &[BufferId]) -> Result<Program>;

    /// Frees what [`Engine::load`] made.
    fn unload(&mut self, program: Program);

    /// Replays programs one after another; afterwards keeps a copy of `report` for [`Engine::reports`].
    ///
    /// An adapter gets them as one submission, or as several where earlier replays took long.
    ///
    /// # Errors
    /// A lost device.
    fn submit(&mut self, programs: &[&Program], report: Option<(BufferId, usize)>) -> Result<()>;

    /// Limits submissions to an adapter to so many dispatches, or leaves that to the engine again. Results do not depend on it.
    fn limit_submissions(&mut self, _dispatches: Option<usize>) {}

    /// The reports that have arrived since the last call, oldest first; all of them if `wait`.
    ///
    /// # Errors
    /// A lost device.
    fn reports(&mut self, wait: bool) -> Result<Vec<Vec<f32>>>;

    /// Seconds that each dispatch takes on its own, by its kernel's name: the mean of `repeats` replays of it alone.
    /// What the buffers hold afterwards is of no use.
    ///
    /// # Errors
    /// A lost device.
    fn profile(&mut self, program: &Program, repeats: usize) -> Result<Vec<(String, f64)>>;

    /// Bytes of all buffers.
    fn allocated_bytes(&self) -> u64;
}

impl dyn Engine {
    /// Writes `data` from `offset` on.
    ///
    /// # Errors
    /// A lost device.
    pub fn write(&mut self, buffer: BufferId, offset: usize, data: &[f32]) -> Result<()> {
        self.write_with(buffer, offset, data.len(), &mut |to| to.copy_from_slice(data))
    }
}

/// Workgroups for `total` of them in a row: folded into y where x alone would exceed the limit of 65,535.
pub fn fold(total: usize) -> [u32; 3] {
    const MAX: usize = 65_535;
    let total = total.max(1);
    let x = total.min(MAX);
    [x as u32, total.div_ceil(MAX) as u32, 1]
}
