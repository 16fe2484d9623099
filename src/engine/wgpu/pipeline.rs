//! From a kernel's source to a pipeline, once per source.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::engine::{Access, Checks, Kernel, shader};
use crate::error::Result;

/// All that a pipeline is made of.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct PipelineKey {
    source: shader::Source,
    access: Vec<Access>,
    /// Words of its immediates.
    words: usize,
}

/// Pipelines that no program uses are kept up to this number.
const UNUSED: usize = 64;

/// The pipelines of a device.
#[derive(Default)]
pub(super) struct Pipelines {
    known: HashMap<PipelineKey, (u64, Arc<Pipeline>)>,
    /// How often one was asked for.
    asked: u64,
}

impl Pipelines {
    fn get(&mut self, key: &PipelineKey) -> Option<Arc<Pipeline>> {
        self.asked += 1;
        let (last, pipeline) = self.known.get_mut(key)?;
        *last = self.asked;
        Some(pipeline.clone())
    }

    /// Keeps a pipeline; of those that no program uses any more, the ones that were asked for least recently go.
    fn insert(&mut self, key: PipelineKey, pipeline: Arc<Pipeline>) {
        self.known.insert(key, (self.asked, pipeline));
        if self.known.len() <= UNUSED {
            return;
        }
        let unused = |(_, pipeline): &(u64, Arc<Pipeline>)| Arc::strong_count(pipeline) == 1;
        let mut asked: Vec<u64> = self.known.values().filter(|v| unused(v)).map(|v| v.0).collect();
        if let Some(more) = asked.len().checked_sub(UNUSED).filter(|more| *more > 0) {
            asked.sort();
            let last = asked[more - 1];
            self.known.retain(|_, v| v.0 > last || !unused(v));
        }
    }
}

/// A compiled kernel and the layout of its bindings.
pub struct Pipeline {
    pub(super) pipeline: gpu::ComputePipeline,
    pub(super) layout: gpu::BindGroupLayout,
    /// The shader and its entry point, for listings.
    pub(super) name: String,
}

impl Opened {
    /// The kernel's pipeline; made on first use.
    pub(super) fn pipeline(&self, kernel: &dyn Kernel) -> Result<Arc<Pipeline>> {
        let key =
            PipelineKey { source: kernel.source(), access: kernel.access(), words: kernel.params().len() };
        let mut known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = known.get(&key) {
            return Ok(pipeline);
        }
        let made = Arc::new(self.make_pipeline(&key)?);
        known.insert(key, made.clone());
        Ok(made)
    }

    fn make_pipeline(&self, key: &PipelineKey) -> Result<Pipeline> {
        let PipelineKey { source, access, words } = key;
        // One failed pipeline can lose the whole device on some drivers, so what naga refuses never gets there.
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
