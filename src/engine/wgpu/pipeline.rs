//! Pipelines of kernels, one per source.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::engine::{Access, Checks, Kernel, shader};
use crate::error::Result;

/// All inputs of a pipeline.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct PipelineKey {
    source: shader::Source,
    access: Vec<Access>,
    /// Number of words of its immediates.
    words: usize,
}

/// Largest number of cached pipelines that no program uses.
const MAX_UNUSED: usize = 64;

/// Pipelines of a device.
#[derive(Default)]
pub(super) struct Pipelines {
    /// Each pipeline with the request that used it last.
    cache: HashMap<PipelineKey, (u64, Arc<Pipeline>)>,
    /// Number of requests so far.
    requests: u64,
}

impl Pipelines {
    fn get(&mut self, key: &PipelineKey) -> Option<Arc<Pipeline>> {
        self.requests += 1;
        let (last_used, pipeline) = self.cache.get_mut(key)?;
        *last_used = self.requests;
        Some(pipeline.clone())
    }

    /// Caches a pipeline. Evicts the least recently used of those that no program uses.
    fn insert(&mut self, key: PipelineKey, pipeline: Arc<Pipeline>) {
        self.cache.insert(key, (self.requests, pipeline));
        if self.cache.len() <= MAX_UNUSED {
            return;
        }
        let unused = |(_, pipeline): &(u64, Arc<Pipeline>)| Arc::strong_count(pipeline) == 1;
        let mut last_used: Vec<u64> = self.cache.values().filter(|v| unused(v)).map(|v| v.0).collect();
        if let Some(excess) = last_used.len().checked_sub(MAX_UNUSED).filter(|excess| *excess > 0) {
            last_used.sort();
            let newest = last_used[excess - 1];
            self.cache.retain(|_, v| v.0 > newest || !unused(v));
        }
    }
}

/// A compiled kernel with the layout of its bindings.
pub struct Pipeline {
    pub(super) pipeline: gpu::ComputePipeline,
    pub(super) layout: gpu::BindGroupLayout,
    /// Shader and entry point, for listings.
    pub(super) name: String,
}

impl Opened {
    /// Returns the pipeline of a kernel. Compiles it on first use.
    ///
    /// # Errors
    /// [`Error::Shader`](crate::error::Error::Shader) if the shader is not valid;
    /// [`Error::Device`](crate::error::Error::Device) if the driver cannot compile it.
    pub(super) fn pipeline(&self, kernel: &dyn Kernel) -> Result<Arc<Pipeline>> {
        let key =
            PipelineKey { source: kernel.source(), access: kernel.access(), words: kernel.params().len() };
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(pipeline);
        }
        let pipeline = Arc::new(self.compile(&key)?);
        pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, key: &PipelineKey) -> Result<Pipeline> {
        let PipelineKey { source, access, words } = key;
        // On some drivers a failed pipeline loses the device, so a shader that naga rejects must not reach them.
        shader::validate(source)?;
        let entries: Vec<gpu::BindGroupLayoutEntry> = access
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
            immediate_size: 4 * *words as u32,
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
        Ok(Pipeline { pipeline, layout, name: format!("{} {}", source.stem, source.entry) })
    }

    #[allow(
        unsafe_code,
        reason = "shaders are this crate's own and validated, so they need no run-time checks"
    )]
    fn module(&self, source: &shader::Source) -> gpu::ShaderModule {
        let desc = gpu::ShaderModuleDescriptor {
            label: Some(source.stem),
            source: gpu::ShaderSource::Wgsl(source.text.as_str().into()),
        };
        match self.checks {
            Checks::On => self.device.create_shader_module(desc),
            // SAFETY: no kernel accesses memory outside of its bindings or loops forever. The host computes every size,
            // and the tests run all kernels with checks and compare them with their CPU twins.
            Checks::Off => unsafe {
                self.device.create_shader_module_trusted(desc, gpu::ShaderRuntimeChecks::unchecked())
            },
        }
    }
}
