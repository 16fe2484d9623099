//! Shader text: files of `shaders/`, with each line `#import NAME` replaced by a shared or generated part.

use crate::engine::Family;
use crate::error::{Error, Result};

/// Text, entry point and constants of a pipeline. Kernels with equal sources share a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Stem of the file's name.
    pub stem: &'static str,
    /// Text with all imports replaced.
    pub text: String,
    /// Name of the entry point.
    pub entry: &'static str,
    /// `override` constants: names, and bits of the `f64` values.
    pub constants: Vec<(&'static str, u64)>,
}

impl Source {
    /// Assembles `shaders/{stem}.wgsl`. Imports are looked up in `generated`, then in `shaders/shared/`.
    pub fn new(stem: &'static str, entry: &'static str, generated: &[(&str, String)]) -> Self {
        Self { stem, text: assemble(file(stem), generated), entry, constants: Vec::new() }
    }

    /// Adds an `override` constant.
    pub fn constant(mut self, name: &'static str, value: f64) -> Self {
        self.constants.push((name, value.to_bits()));
        self
    }
}

/// Longest sum without compensation: with this many equal terms, the rounding error is below 1e-6 of the sum.
pub const PLAIN: usize = 32;

macro_rules! files {
    ($($stem:literal)*) => {
        /// Stems of all files in `shaders/` and `shaders/shared/`.
        pub const STEMS: &[&str] = &[$($stem),*];

        fn file(stem: &str) -> &'static str {
            match stem {
                $($stem => include_str!(concat!("../../shaders/", $stem, ".wgsl")),)*
                _ => "",
            }
        }
    };
}

files! {
    "accumulate" "accuracy" "ceiling" "columns" "convolution" "cross_entropy" "dropout" "learn" "loop" "map"
    "matmul_exact" "matmul_plain" "matmul_software" "matmul_subgroup" "matmul_tiled" "noise" "norm" "pool" "reduce" "sample"
    "scan" "scan_chunks" "scan_combine" "softmax" "sparse" "transpose" "update"
    "shared/fold" "shared/functions" "shared/loop_product" "shared/matmul_lane" "shared/matmul_params" "shared/number"
    "shared/operand_a_scalar" "shared/operand_a_u64" "shared/operand_a_vec4"
    "shared/operand_b_scalar" "shared/operand_b_u64" "shared/operand_b_vec4"
    "shared/philox" "shared/result_scalar" "shared/result_vec4" "shared/row" "shared/segments"
    "shared/sums_exact" "shared/sums_plain"
    "shared/vector_f32" "shared/vector_u64" "shared/window"
}

/// Text for `#import vector`: loads and stores of four floats, in the fastest way for `family`.
pub fn vector(family: Family) -> String {
    part(if matches!(family, Family::Software { int64: true, .. }) { "vector_u64" } else { "vector_f32" })
}

/// Name and text for `#import sums`: plain sums up to [`PLAIN`] terms, compensated sums above.
pub fn sums(terms: usize) -> (&'static str, String) {
    ("sums", part(if terms > PLAIN { "sums_exact" } else { "sums_plain" }))
}

/// Text of `shaders/shared/{name}.wgsl`, with its imports replaced.
pub fn part(name: &str) -> String {
    assemble(file(&format!("shared/{name}")), &[])
}

fn assemble(text: &str, generated: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let name = name.trim();
                match generated.iter().find(|(n, _)| *n == name) {
                    Some((_, part)) => out.push_str(part),
                    None => out.push_str(&assemble(file(&format!("shared/{name}")), generated)),
                }
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Parses and validates the text of a shader.
///
/// # Errors
/// [`Error::Shader`] with position and reason.
pub fn validate(source: &Source) -> Result<naga::Module> {
    let invalid = |problem: String| Error::Shader { name: source.stem.to_string(), problem };
    let module = naga::front::wgsl::parse_str(&source.text)
        .map_err(|e| invalid(e.emit_to_string_with_path(&source.text, source.stem)))?;
    let capabilities = naga::valid::Capabilities::IMMEDIATES
        | naga::valid::Capabilities::SUBGROUP
        | naga::valid::Capabilities::SHADER_INT64;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| invalid(e.emit_to_string_with_path(&source.text, source.stem)))?;
    Ok(module)
}
