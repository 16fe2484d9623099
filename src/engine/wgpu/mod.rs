//! The engine for adapters. This is the only folder that mentions wgpu.

mod pipeline;
mod replay;
mod reports;
mod submission;

use std::sync::{Arc, Mutex, PoisonError};

use wgpu as gpu;

pub use replay::WgpuEngine;

use crate::engine::adapter::{Adapter, Checks, DeviceKind};
use crate::engine::turns;
use crate::error::{Error, Result};
use pipeline::Pipelines;

/// All adapters of all drivers, with their descriptions.
pub(super) fn adapters() -> Vec<(Adapter, gpu::Adapter)> {
    let mut desc = gpu::InstanceDescriptor::new_without_display_handle();
    desc.backends = gpu::Backends::VULKAN | gpu::Backends::METAL | gpu::Backends::DX12;
    desc.flags = gpu::InstanceFlags::empty();
    let instance = gpu::Instance::new(desc);
    let found = pollster::block_on(instance.enumerate_adapters(gpu::Backends::all()));
    found.into_iter().map(|raw| (describe(&raw.get_info()), raw)).collect()
}

fn describe(info: &gpu::AdapterInfo) -> Adapter {
    let kind = match info.device_type {
        gpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
        gpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
        gpu::DeviceType::Cpu => DeviceKind::Software,
        gpu::DeviceType::Other | gpu::DeviceType::VirtualGpu => DeviceKind::Other,
    };
    Adapter {
        name: info.name.clone(),
        kind,
        backend: format!("{:?}", info.backend),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
    }
}

/// An opened adapter, which all engines on it share.
pub struct Opened {
    name: String,
    device: gpu::Device,
    queue: gpu::Queue,
    checks: Checks,
    subgroup: u32,
    max_turns: usize,
    pipelines: Mutex<Pipelines>,
    /// First error that the driver reported outside of a call that could return it.
    fault: Arc<Mutex<Option<String>>>,
}

impl Opened {
    /// Opens an adapter with all of its limits, and with subgroups and 64-bit integers where it has them.
    ///
    /// # Errors
    /// [`Error::Device`] if it lacks immediates or the driver cannot open it.
    pub(super) fn open(raw: &gpu::Adapter, adapter: &Adapter, checks: Checks) -> Result<Self> {
        let failed = |problem: String| Error::Device { device: adapter.name.clone(), problem };
        let features = raw.features();
        let optional = gpu::Features::SUBGROUP | gpu::Features::SHADER_INT64;
        let required = gpu::Features::IMMEDIATES;
        if !features.contains(required) {
            return Err(failed(
                "its driver lacks immediates (push constants), which the kernels need".into(),
            ));
        }
        let desc = gpu::DeviceDescriptor {
            label: Some("nengo-wgpu"),
            required_features: required | (features & optional),
            required_limits: raw.limits(),
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(raw.request_device(&desc)).map_err(|e| failed(e.to_string()))?;
        let fault = Arc::new(Mutex::new(None));
        let first = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error: gpu::Error| set_first(&first, error.to_string())));
        let first = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != gpu::DeviceLostReason::Destroyed {
                set_first(&first, format!("it was lost: {message}"));
            }
        });
        let info = raw.get_info();
        // A kernel can rely on the size only where it is fixed.
        let fixed =
            info.subgroup_min_size == info.subgroup_max_size && features.contains(gpu::Features::SUBGROUP);
        let subgroup = if fixed { info.subgroup_min_size } else { 0 };
        let name = adapter.name.clone();
        let max_turns = match adapter.kind {
            DeviceKind::Software => turns::SOFTWARE,
            _ => turns::UNLIMITED,
        };
        Ok(Self { name, device, queue, checks, subgroup, max_turns, pipelines: Mutex::default(), fault })
    }

    /// Size of a subgroup; 0 if it is not fixed.
    pub(super) fn subgroup(&self) -> u32 {
        self.subgroup
    }

    /// True if shaders may use 64-bit integers.
    pub(super) fn int64(&self) -> bool {
        self.device.features().contains(gpu::Features::SHADER_INT64)
    }

    /// Largest number of loop iterations of an invocation in a dispatch.
    pub(super) fn max_turns(&self) -> usize {
        self.max_turns
    }

    /// Largest binding of a kernel, in floats.
    pub(super) fn max_binding(&self) -> usize {
        let limits = self.device.limits();
        (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 4) as usize
    }

    /// Largest number of bindings of a kernel.
    pub(super) fn max_buffers(&self) -> usize {
        self.device.limits().max_storage_buffers_per_shader_stage as usize
    }

    /// Limits, as names and values.
    pub(super) fn limits(&self) -> Vec<(&'static str, u64)> {
        let l = self.device.limits();
        vec![
            ("storage binding, bytes", l.max_storage_buffer_binding_size),
            ("buffer, bytes", l.max_buffer_size),
            ("storage buffers per kernel", l.max_storage_buffers_per_shader_stage.into()),
            ("workgroup memory, bytes", l.max_compute_workgroup_storage_size.into()),
            ("invocations per workgroup", l.max_compute_invocations_per_workgroup.into()),
            ("loop iterations per invocation", self.max_turns as u64),
            ("workgroups per dimension", l.max_compute_workgroups_per_dimension.into()),
            ("immediates, bytes", l.max_immediate_size.into()),
            ("subgroup size (0: not fixed)", self.subgroup.into()),
        ]
    }

    /// Returns the first error that the driver has reported since the adapter was opened.
    fn check(&self) -> Result<()> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(problem) => Err(self.error(problem)),
            None => Ok(()),
        }
    }

    fn error(&self, problem: impl ToString) -> Error {
        Error::Device { device: self.name.clone(), problem: problem.to_string() }
    }

    fn encoder(&self) -> gpu::CommandEncoder {
        self.device.create_command_encoder(&gpu::CommandEncoderDescriptor::default())
    }
}

fn set_first(fault: &Mutex<Option<String>>, message: String) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
}
