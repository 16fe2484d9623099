//! From a kernel's source to a pipeline, once per source.

use std::sync::{Arc, PoisonError};

use wgpu as gpu;

use super::Opened;
use crate::engine::{Access, Checks, Kernel, shader};
use crate::error::Result;

/// A compiled kernel and the layout of its bindings.
pub struct Pipeline {
    pub(super) pipeline: gpu::ComputePipeline,
    pub(super) layout: gpu::BindGroupLayout,
}

impl Opened {
    /// The kernel's pipeline; made on first use.
    pub(super) fn pipeline(&self, kernel: &dyn Kernel) -> Result<Arc<Pipeline>> {
        let source = kernel.source();
        let mut known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = known.get(&source) {
            return Ok(pipeline.clone());
        }
        let made = Arc::new(self.make_pipeline(kernel, &source)?);
        known.insert(source, made.clone());
        Ok(made)
    }

    fn make_pipeline(&self, kernel: &dyn Kernel, source: &shader::Source) -> Result<Pipeline> {
        // One failed pipeline can lose the whole device on some drivers, so what naga refuses never gets there.
        shader::validate(source)?;
        let entries: Vec<gpu::BindGroupLayoutEntry> = kernel
            .access()
            .iter()
            .enumerate()
            .map(|(binding, &access)| gpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: gpu::ShaderStages::COMPUTE,
                ty: gpu::BindingType::Buffer {
                    ty: gpu::BufferBindingType::Storage { read_only: access == Access::Read },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let label = Some(source.stem);
        let layout = self
            .device
            .create_bind_group_layout(&gpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&gpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 4 * kernel.params().len() as u32,
        });
        let constants: Vec<(&str, f64)> =
            source.constants.iter().map(|&(n, c)| (n, f64::from_bits(c))).collect();
        let pipeline = self.device.create_compute_pipeline(&gpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &self.module(source),
            entry_point: Some(source.entry),
            compilation_options: gpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: self.checks == Checks::On,
            },
            cache: None,
        });
        self.check()?;
        Ok(Pipeline { pipeline, layout })
    }

    #[allow(
        unsafe_code,
        reason = "shaders are this crate's own and validated: they need no checks at run time"
    )]
    fn module(&self, source: &shader::Source) -> gpu::ShaderModule {
        let desc = gpu::ShaderModuleDescriptor {
            label: Some(source.stem),
            source: gpu::ShaderSource::Wgsl(source.text.as_str().into()),
        };
        match self.checks {
            Checks::On => self.device.create_shader_module(desc),
            // SAFETY: no kernel reads or writes outside of its bindings or loops for ever: the host computes every
            // size, and the tests run all kernels with checks on and compare them with their twins.
            Checks::Off => unsafe {
                self.device.create_shader_module_trusted(desc, gpu::ShaderRuntimeChecks::unchecked())
            },
        }
    }
}
